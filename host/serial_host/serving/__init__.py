"""One served port between its COM port and its client, and all ports of the process."""
