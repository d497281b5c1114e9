"""One port's life between the virtual port and the connection, and all ports of the process."""
