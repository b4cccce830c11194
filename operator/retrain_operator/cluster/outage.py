"""One log line when something begins to fail, one when it fails differently, one when it works again; nothing in between."""

import logging


class Outage:
    """What is being tried, and whether it fails at present."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._told = ""

    def failed(self, error: Exception) -> None:
        if str(error) != self._told:
            self._told = str(error)
            self._log.warning("%s fails, trying on: %s", self._what, error)

    def over(self) -> None:
        if self._told:
            self._told = ""
            self._log.info("%s works again", self._what)
