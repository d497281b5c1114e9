"""COM ports: real ones of the operating system, and simulated ones."""
