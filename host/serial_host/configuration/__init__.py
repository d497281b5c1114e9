"""The configuration file, and its keys as flags of the command line."""
