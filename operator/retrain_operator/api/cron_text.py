"""A cron text as far as its shape can be checked when it is applied. `retrain_operator.cron` is the authority on what it means.

Whatever cron.py accepts is accepted here. It alone knows which ranges run backwards and which expressions never fire. One rule for each
field, so that the message names the field.
"""

from typing import Annotated, NamedTuple

from pydantic import Field

from retrain_operator.api.base import Rule


class _Field(NamedTuple):
    name: str
    value: str
    says: str


_FIELDS = (
    _Field("minute", "0*[1-5]?[0-9]", "0 to 59, e.g. 30 or */15 or H"),
    _Field("hour", "0*(1?[0-9]|2[0-3])", "0 to 23, e.g. 2 or 8-18/2 or H(1-4)"),
    _Field("day of month", "0*([1-9]|[12][0-9]|3[01])", "1 to 31, e.g. 1 or 1,15 or H"),
    _Field("month", "0*([1-9]|1[0-2])|(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)", "1 to 12 or JAN to DEC, e.g. */3"),
    _Field("day of week", "0*[0-7]|(?i:SUN|MON|TUE|WED|THU|FRI|SAT)", "0 to 7 or SUN to SAT, e.g. MON-FRI"),
)
_STEP = "(/0*[1-9][0-9]*)?"
_FIVE = r"\s*[^\s@=]+(\s+[^\s=]+){4}\s*"


def _field_rule(index: int) -> Rule:
    field = _FIELDS[index]
    term = rf"(\*|({field.value})(-({field.value}))?){_STEP}"
    hashed = rf"H(\(({field.value})-({field.value})\))?{_STEP}"
    return Rule.pattern(
        rf"\s*(\S+\s+){{{index}}}({term}(,{term})*|{hashed})(\s+\S+){{{4 - index}}}\s*",
        f"{field.name}: write {field.says}, with lists (a,b), ranges (a-b), steps (*/n) or *; not R, L, W, # or ?",
        when=_FIVE,
    )


CronText = Annotated[
    str,
    Field(max_length=256),
    Rule("!self.contains('TZ=')", "put the time zone into spec.timeZone, not into the schedule", lambda text: "TZ=" not in text),
    Rule.pattern(
        rf"\s*@(yearly|annually|monthly|weekly|daily|midnight|hourly)\s*|{_FIVE}",
        "write five cron fields 'minute hour day-of-month month day-of-week', e.g. '0 2 * * 0' for Sundays at 02:00, "
        "or one of @hourly @daily @weekly @monthly @yearly; seconds are not supported",
        when="[^=]*",
    ),
    *map(_field_rule, range(5)),
]
