"""From whatever Arrow type a source delivered to a dataset's own, with a reason for each value that can't be."""

from thermocline.model.parsing.decimals import decimals, from_scaled
from thermocline.model.parsing.parsed import Parsed, quoted
from thermocline.model.parsing.plain import booleans, floats, integers, texts
from thermocline.model.parsing.times import dates, timestamps

__all__ = [
    "Parsed",
    "booleans",
    "dates",
    "decimals",
    "floats",
    "from_scaled",
    "integers",
    "quoted",
    "texts",
    "timestamps",
]
