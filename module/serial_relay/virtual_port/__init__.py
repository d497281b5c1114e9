"""What applications open: virtual serial ports and the links that lead to them."""
