"""Mutual TLS between a serial relay and a serial host: identities, trust, and the bytes of a connection.

`endpoint.Endpoint` is one end with its identity and its trust; it makes a `session.Session` for each connection.
"""
