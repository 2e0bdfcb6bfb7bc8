"""The engine beside its peers: one command, one server, whole processes. See README.md."""
