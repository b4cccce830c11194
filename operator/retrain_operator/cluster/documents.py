"""JSON of the API server, which takes objects nested ten thousand deep, where Python reads less than a thousand."""

import json
import re
from typing import Any

KEPT_DEPTH = 250  # far more than any object needs, and more than the operator takes a spec with

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def parse(text: bytes) -> Any:
    """The document. What nests too deeply is null below KEPT_DEPTH: one such object must not hide all others. Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(_cut(text))


def _cut(text: bytes) -> bytes:
    kept, depth, copied = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in (b"{", b"["):
            depth += 1
            if depth == KEPT_DEPTH + 1:
                kept.append(text[copied : token.start()] + b"null")
        elif token[0] in (b"}", b"]"):
            depth -= 1
            if depth == KEPT_DEPTH:
                copied = token.end()
    return b"".join((*kept, text[copied:]))
