"""Tables as kubectl prints them, cut to the terminal: what does not fit is taken from the widest column."""

from collections.abc import Iterator, Sequence

GAP = 3
WIDTH_MIN = 8  # of a column that is cut


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Lines of at most `width` columns where WIDTH_MIN allows; None: nothing is cut."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    if width is not None:
        while sum(widths) + GAP * (len(widths) - 1) > width and max(widths) > WIDTH_MIN:
            widths[widths.index(max(widths))] -= 1
    for row in cells:
        yield (" " * GAP).join(_cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
