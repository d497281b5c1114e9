"""Who this module is in a TLS connection: a key of its own, or the certificate that IoT Edge gives it."""
