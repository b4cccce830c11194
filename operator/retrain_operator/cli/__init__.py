"""The command `retrain`."""

from retrain_operator.cli.main import main

__all__ = ["main"]
