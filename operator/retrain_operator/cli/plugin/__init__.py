"""`kubectl retrain`: what people do with schedules and runs, as a plugin of kubectl."""

from retrain_operator.cli.plugin.main import main

__all__ = ["main"]
