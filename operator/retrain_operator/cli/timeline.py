"""The story of a simulation as lines of text."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from retrain_operator.embedded.simulation_story import Entry, Story, What

WIDTH = 100
LINES_MAX = 40  # of a timeline, before quiet stretches are collapsed
_ENDS_SHOWN = 3  # the first and the last lines are always shown
_COLOURS = {
    What.COMPLETED: "32",
    What.FAILED: "31",
    What.SKIPPED: "33",
    What.DELETED: "33",
    What.RETRIED: "35",
    What.TICK_SKIPPED: "33",
    What.WAITS: "33",
    What.DECIDED: "33",
    What.DOWN: "31",
    What.EVENT: "31",
    What.NOTE: "36",
}
_RARE = (What.NOTE, What.EVENT, What.DOWN, What.UP)
_USUAL = (What.STARTED, What.COMPLETED)
_OF_TICKS = (What.TICK_SKIPPED, What.WAITS, What.DECIDED)
_OF_RUNS = {
    What.STARTED: "started",
    What.COMPLETED: "completed",
    What.FAILED: "failed",
    What.SKIPPED: "skipped",
    What.DELETED: "deleted",
    What.RETRIED: "retried",
    What.CREATED: "created",
}


def tell(story: Story, *, everything: bool, colour: bool) -> Iterator[str]:
    """The timeline and the summary, lines of at most WIDTH columns where names allow. Without `everything` quiet stretches are one line."""
    days = (story.end - story.start).days
    yield f"{story.name}: {story.cron.effective}, {days} day{'s' if days != 1 else ''} from {_local(story.start, story, False)}"
    yield ""
    entries = story.timeline
    with_seconds = any(entry.at.second for entry in entries)
    shown = range(len(entries)) if everything else _remarkable(entries)
    index = 0
    for each in [*shown, len(entries)]:
        if hidden := entries[index:each]:
            yield _painted(f"  … {_counted(hidden)}", "2", colour)
        if each < len(entries):
            yield from _line(entries[each], story, with_seconds, colour)
        index = each + 1
    if not entries:
        yield "  nothing happens"
    yield ""
    yield from _summary(story)


def _remarkable(entries: Sequence[Entry]) -> list[int]:
    """Indices of the lines to show: all if they are few, else the ends and what happens seldom enough."""
    if len(entries) <= LINES_MAX:
        return list(range(len(entries)))
    ends = {*range(_ENDS_SHOWN), *range(len(entries) - _ENDS_SHOWN, len(entries))}
    chosen = {index for index, entry in enumerate(entries) if entry.what not in _USUAL or _is_late(entry)}
    if len(chosen) > LINES_MAX:
        often = Counter((entry.what, entry.reason, _is_late(entry)) for entry in entries)
        chosen = {
            index
            for index in chosen
            if (entry := entries[index]).what in _RARE or often[entry.what, entry.reason, _is_late(entry)] <= LINES_MAX // 4
        }
    indices = sorted(ends | set(sorted(chosen)[:LINES_MAX]))
    # A gap of one line is better filled than told of.
    return sorted({*indices, *(low + 1 for low, high in pairwise(indices) if high - low == 2)})


def _counted(entries: Sequence[Entry]) -> str:
    count = Counter(dict.fromkeys(What, 0))
    for entry in entries:
        count[entry.what] += entry.count
    runs = [f"{count[what]} {word}" for what, word in _OF_RUNS.items() if count[what]]
    ticks = [f"{count[what]} {what.value.removeprefix('tick ')}" for what in _OF_TICKS if count[what]]
    others = [f"{count[what]} {what.value}s" for what in (What.NOTE, What.EVENT) if count[what]]
    outages = [f"{count[What.DOWN]} outages"] if count[What.DOWN] else []
    named = [f"{name}: {', '.join(counts)}" for name, counts in (("runs", runs), ("ticks", ticks)) if counts]
    return "; ".join([*named, *others, *outages])


def _line(entry: Entry, story: Story, with_seconds: bool, colour: bool) -> Iterator[str]:
    head = f"  {_local(entry.at, story, with_seconds)}  "
    if story.cron.zone.key not in ("UTC", "Etc/UTC"):
        head += f"{entry.at:%m-%d %H:%M:%SZ}  " if with_seconds else f"{entry.at:%m-%dT%H:%MZ}  "
    lines = textwrap.wrap(_text(entry, story), max(30, WIDTH - len(head)), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        yield (head if number == 0 else " " * (len(head) + 2)) + _painted(line, _COLOURS.get(entry.what), colour)


def _text(entry: Entry, story: Story) -> str:
    match entry.what:
        case What.NOTE:
            return entry.text or ""
        case What.EVENT:
            return f"{entry.reason}: {entry.text}"
        case What.DOWN | What.UP:
            return entry.what.value
        case What.TICK_SKIPPED | What.WAITS | What.DECIDED:
            blocker, verb = f" ({entry.job})" if entry.job else "", entry.what.value.removeprefix("tick ")
            if entry.count > 1 and entry.first_tick and entry.tick:
                first, last = (_short(tick, entry, story) for tick in (entry.first_tick, entry.tick))
                return f"{entry.count} ticks {'wait' if entry.what is What.WAITS else verb}, {first} to {last}: {entry.reason}{blocker}"
            return f"tick {_short(entry.tick or entry.at, entry, story)} {verb}: {entry.reason}{blocker}"
    text = f"{entry.what.value:<13} {entry.job}"
    if entry.tick and _is_late(entry):
        text += f", {span(entry.at - entry.tick)} late"
    if entry.took_s is not None and entry.what is not What.RETRIED:
        text += f", after {span(timedelta(seconds=entry.took_s))}"
    return text + (f": {entry.reason}" if entry.reason and entry.what is not What.COMPLETED else "")


def _is_late(entry: Entry) -> bool:
    return entry.what is What.STARTED and entry.tick is not None and entry.at - entry.tick >= timedelta(minutes=1)


def _summary(story: Story) -> Iterator[str]:
    told = story.summary()
    runs = [f"{count} {outcome}" for outcome, count in told["runs"].items() if count] or ["none"]
    skips = [f"{count} {reason}" for reason, count in told["skips"].items()] or ["none"]
    busiest = told["busiestHour"]
    yield f"  ticks          {told['ticks']}"
    yield f"  runs           {', '.join(runs)}"
    yield f"  skipped ticks  {', '.join(skips)}"
    yield f"  retries        {told['retries']}"
    yield f"  training time  {span(timedelta(seconds=told['trainingSeconds']))}"
    yield f"  longest wait   {span(timedelta(seconds=told['longestWaitSeconds']))}"
    yield "  busiest hour   " + (f"{busiest['hour']:02d}:00, {busiest['starts']} starts" if busiest else "none")


def span(length: timedelta) -> str:
    """40m, 1h05m, 3d04h, 31s."""
    seconds = int(length.total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d{hours % 24:02d}h"
    if hours:
        return f"{hours}h{minutes % 60:02d}m"
    if minutes:
        return f"{minutes}m{seconds % 60:02d}s" if seconds % 60 else f"{minutes}m"
    return f"{seconds}s"


def _local(instant: datetime, story: Story, with_seconds: bool) -> str:
    local = instant.astimezone(story.cron.zone)
    offset = f"{local:%z}"
    clock = f"{local:%H:%M:%S}" if with_seconds else f"{local:%H:%M}"
    return f"{local:%a %Y-%m-%d} {clock} {local:%Z} {offset[:3]}:{offset[3:5]}"


def _short(tick: datetime, entry: Entry, story: Story) -> str:
    """A tick's local time, with its date when that is not the entry's."""
    local, at = (each.astimezone(story.cron.zone) for each in (tick, entry.at))
    return f"{local:%H:%M}" if local.date() == at.date() else f"{local:%m-%d %H:%M}"


def _painted(text: str, code: str | None, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text
