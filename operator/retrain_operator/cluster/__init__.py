"""Everything that talks to a cluster: the protocol, the real API server, the in-memory one, informers and the leader's lease."""
