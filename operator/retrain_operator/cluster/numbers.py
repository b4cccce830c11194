"""Numbers as people and servers write them in texts."""

import math
import re

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)  # float() also reads nan, inf and 1_000


def parse_number(text: str) -> float | None:
    """The finite number that the text is, blanks around it aside; None when it is none."""
    plain = text.strip()
    if len(plain) > 64 or _NUMBER.fullmatch(plain) is None:
        return None
    number = float(plain)
    return number if math.isfinite(number) else None
