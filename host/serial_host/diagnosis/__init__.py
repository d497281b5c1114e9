"""What a technician asks when a port does not work: each step of the way, its verdict, and what to do next."""
