"""What any server could use: options of TCP sockets, the log, the console."""
