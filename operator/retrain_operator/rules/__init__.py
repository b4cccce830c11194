"""The pure core: what was observed and `now` in, what to do out. No I/O, no clock, no environment, no Kubernetes client."""
