"""The process around the ports: settings, the service, metrics, health."""
