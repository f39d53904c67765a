"""Messages and services of gRPC package ``links.v1``: the .proto files and the code generated from them.

``make proto`` generates the code again; a test compares it with what is checked in.
"""
