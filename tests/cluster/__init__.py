"""The local cluster: a real API server, etcd and controller manager, and a local stand-in for a node."""
