"""The local control channel: how `status` and `stop` reach a running server."""
