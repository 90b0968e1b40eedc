"""The spelling of a schedule: cron's five fields."""

import re

from thermocline.errors import UsageError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("", *_MONTHS)),
    ("weekday", 0, 7, _WEEKDAYS),
)
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9]\d*))?")


def parse_cron(text: str) -> str:
    """Check a schedule such as `0 2 * * *`: minute, hour, day of the month, month, weekday.

    Raises:
        UsageError: The text does not have five fields, or one of them can't be; the text says which.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        msg = (
            f"{text!r} is not a schedule; write cron's five fields: minute, hour, day of the month, month, weekday, "
            "such as '0 2 * * *' for 2 AM"
        )
        raise UsageError(msg)
    for field, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part, low, high, words) for part in field.split(",")):
            msg = f"{text!r} is not a schedule: {field!r} can't stand for the {name}, which goes from {low} to {high}"
            raise UsageError(msg)
    return " ".join(fields)


def _is_part(part: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    match = _PART.fullmatch(part)
    if match is None:
        return False
    if match["first"] is None:
        return True
    first = _number(match["first"], words)
    last = first if match["last"] is None else _number(match["last"], words)
    return first is not None and last is not None and low <= first <= last <= high


def _number(text: str, words: tuple[str, ...]) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text)
    return words.index(text.lower()) if text.lower() in words else None
