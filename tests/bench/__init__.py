"""Measurements on the local control plane: `python -m tests.bench [name ...]`."""
