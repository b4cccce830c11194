"""A token or URL from a Secret that its owner lets schedules of the namespace use."""

import base64
import binascii
import re
from typing import Any

from retrain_operator.api.names import LABEL_ALLOW_READ
from retrain_operator.api.policy import KeyOf

_LINE = re.compile(r"[\x21-\x7e]+")  # what may stand in a URL or an HTTP header


class SecretUnreadable(Exception):
    """The message is for people, and holds nothing of the Secret."""


def secret_line(secret: dict[str, Any], of: KeyOf) -> str:
    """The key's value, without the line end that files have. Raises SecretUnreadable."""
    if (secret["metadata"].get("labels") or {}).get(LABEL_ALLOW_READ) != "true":
        raise SecretUnreadable(f'Secret {of.name} does not carry the label {LABEL_ALLOW_READ}: "true", by which its owner lets it be used')
    encoded = (secret.get("data") or {}).get(of.key)
    if encoded is None:
        raise SecretUnreadable(f"Secret {of.name} has no key {of.key}")
    try:
        line = base64.b64decode(encoded).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        line = ""
    if _LINE.fullmatch(line) is None:
        raise SecretUnreadable(f"Secret {of.name}, key {of.key}, is not one line that can be sent")
    return line
