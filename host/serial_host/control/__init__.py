"""The local control channel: how the commands of this computer reach a running server."""
