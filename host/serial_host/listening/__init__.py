"""Where the server listens: TCP ports at the addresses of the network interfaces."""
