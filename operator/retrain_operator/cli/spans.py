"""Spans of time, as people write them on a command line."""

import argparse
import re

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def span_s(text: str) -> int:
    """Seconds of `90s`, `40m`, `1h30m`, `3d`. For argparse: raises ArgumentTypeError."""
    match = _SPAN.fullmatch(text)
    days, hours, minutes, seconds = (int(each or 0) for each in match.groups()) if match else (0, 0, 0, 0)
    if (span := ((days * 24 + hours) * 60 + minutes) * 60 + seconds) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of time: write e.g. 90s, 40m or 1h30m")
    return span
