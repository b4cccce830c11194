"""The error that a user can mend: a spec that cannot work."""


class InvalidSpec(Exception):
    """The spec cannot work as it stands. The message says what to do; nothing is retried until the spec changes."""

    def __init__(self, message: str, *, reason: str = "InvalidSpec") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
