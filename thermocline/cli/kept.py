"""Commands that speak of kept answers: cache show, clear."""

from thermocline.cli.commands import command, group
from thermocline.cli.invocation import Invocation
from thermocline.cli.words import Number, Size, Table, plural


@command("show", examples=("thermocline cache show",))
def show(invocation: Invocation) -> None:
    """Show where answers of the lake are kept.

    What each place holds and may hold, and how often an answer was found there. Memory is that of this command, which
    has just begun; a Redis is shared, and counts for all processes.
    """
    with invocation.opened() as opened:
        states = opened.cache()
    rows = [
        (
            each.name,
            each.entries,
            Size(each.size_bytes),
            Size(each.limit_bytes),
            each.hits,
            each.misses,
            Number(f"{each.hits / (each.hits + each.misses):.0%}") if each.hits + each.misses else None,
        )
        for each in states
    ]
    invocation.answer(
        {"caches": [each.document() for each in states]},
        *([Table(("cache", "answers", "size", "room", "hits", "misses", "found"), rows)] if rows else []),
        *(f"{each.name} is at {each.url}." for each in states if each.url and not each.trouble),
        *(f"{each.url} can't be used, answers are read anew: {each.trouble}." for each in states if each.trouble),
        *([] if rows else ["Nothing is kept: storage.cache.memory_mib is 0, and no Redis is set."]),
    )


@command("clear", examples=("thermocline cache clear",))
def clear(invocation: Invocation) -> None:
    """Let all kept answers go.

    Of Redis, those of every process; other processes keep what they have in memory. No answer is ever out of date, so
    that this is for room, and for rows that shall be gone.
    """
    with invocation.opened() as opened:
        count = opened.clear_cache()
    invocation.answer({"cleared": count}, f"{plural(count, 'answer')} let go.")


@group(show, clear)
def cache() -> None:
    """Show and clear the answers of the lake that are kept.

    In memory, which every process has for itself, and in the Redis that storage.cache.redis_url names, if any. None is
    ever out of date: it is found by the objects that it came from.
    """
