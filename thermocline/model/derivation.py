"""Which days a derived day was made of, in one word for each day, so that the ledger alone tells what is due."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b

from thermocline.model.partition import Partition

_BITS = 128
_WORDS = 1 << _BITS


@dataclass(frozen=True, slots=True)
class Derivation:
    """A partition that was derived: `inputs` stands for all that it was made of, `content` for what it said then.

    Both are digests. Where either is another one now, the partition is to be derived anew.
    """

    partition: Partition
    inputs: str
    content: str


def digests(
    inputs: Iterable[Mapping[Partition, str]], days: Collection[date], *, reach: timedelta, recipe: str
) -> dict[date, str]:
    """For each day a word for the inputs of the `reach` up to it, with what they say, and for the recipe.

    Args:
        inputs: Partitions of what rows are made of, each with the fingerprint of its content.
        days: The days that are derived.
        reach: How far before a day the oldest partition lies that it is made of.
        recipe: What else decides the rows, such as a formula's version and its settings.
    """
    numbers = [
        (partition.day, _number(f"{partition} {content}")) for each in inputs for partition, content in each.items()
    ]
    numbers.sort()
    found = {}
    first = last = total = 0
    for day in sorted(days):
        while last < len(numbers) and numbers[last][0] <= day:
            total += numbers[last][1]
            last += 1
        while first < last and numbers[first][0] < day - reach:
            total -= numbers[first][1]
            first += 1
        found[day] = f"{_number(f'{recipe} {total % _WORDS:x}'):032x}"
    return found


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=_BITS // 8).digest())
