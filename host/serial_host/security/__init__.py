"""Who may be a client where connections are secured by TLS, and who this host is."""
