"""The local control channel: how the commands of this machine reach a running module."""
