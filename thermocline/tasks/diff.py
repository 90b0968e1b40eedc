"""Diff: what one version of a day says differently from another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from thermocline.errors import LakeError, UsageError
from thermocline.model.changes import ChangeCounts
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ONE_DAY, DayRange
from thermocline.model.receipt import Vintage, VintageState
from thermocline.ports import Changes, Hot, Lake

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pyarrow as pa


@dataclass(frozen=True)
class Comparison:
    """Two versions of a day, and what they say differently. Each method compares anew."""

    lake: Lake
    old: Vintage
    new: Vintage

    def changes(self) -> "AbstractContextManager[Changes]":
        """The counts and the differences, as a stream to be read inside a `with` block; see `Changes`."""
        return self.lake.changes(self.old, self.new)

    def counts(self) -> ChangeCounts:
        """How many rows and symbols differ."""
        with self.changes() as found:
            return found.counts

    def to_arrow(self) -> "pa.Table":
        """Every difference as an Arrow table; see `Changes`."""
        with self.changes() as found:
            return found.cells.read_all()

    def document(self, counts: ChangeCounts | None = None) -> dict[str, Any]:
        """The versions and the counts as JSON."""
        return {
            "from": self.old.document(),
            "to": self.new.document(),
            "counts": (counts or self.counts()).document(),
        }


def compare(
    hot: Hot,
    lake: Lake,
    dataset: Dataset,
    day: date,
    interval: str = "",
    *,
    old: int | None = None,
    new: int | None = None,
) -> Comparison:
    """Choose two versions of a day: the live one and the newest that is held, else the two that were published last.

    Raises:
        UsageError: There is no such version, none to compare with, or several intervals and none was named.
        LakeError: A version has expired, or was rejected and is deleted.
    """
    found = hot.vintages(dataset, DayRange(day, day + ONE_DAY), [interval] if interval else [])
    where = f"{dataset.name} {day}"
    if not found:
        msg = f"{where} was never in the lake{f' at {interval}' if interval else ''}; there is nothing to compare"
        raise UsageError(msg)
    intervals = sorted({vintage.partition.interval for vintage in found})
    if len(intervals) > 1:
        msg = f"{where} is there at {', '.join(intervals)}; name one with --interval"
        raise UsageError(msg)
    comparison = Comparison(lake, *_pair(found, old, new))
    for vintage in (comparison.old, comparison.new):
        if vintage.state is VintageState.EXPIRED:
            msg = (
                f"version {vintage.receipt.version} of {vintage.partition} has expired; its rows can't be had any more"
            )
            raise LakeError(msg)
        if vintage.state is VintageState.REJECTED and not lake.size_of(vintage.receipt.path):
            msg = (
                f"version {vintage.receipt.version} of {vintage.partition} was rejected, and its object has been "
                "deleted since; its rows can't be had any more"
            )
            raise LakeError(msg)
    return comparison


def _pair(found: Sequence[Vintage], old: int | None, new: int | None) -> tuple[Vintage, Vintage]:
    published = sorted((v for v in found if v.state is VintageState.PUBLISHED), key=lambda v: v.published_at)
    held = [vintage for vintage in found if vintage.state is VintageState.HELD]
    if new is not None:
        later = _version(found, new)
    elif held and published and old is None:
        later = held[-1]
    else:
        later = published[-1] if published else found[-1]
    if old is not None:
        return _version(found, old), later
    # What it came after, or would come after.
    earlier = [v for v in published if v is not later and (v.published_at < later.published_at or v.is_live)]
    if not earlier:
        version, partition = later.receipt.version, later.partition
        msg = f"version {version} of {partition} has no other to be compared with; `thermocline vintages` lists them"
        raise UsageError(msg)
    if later.state in {VintageState.HELD, VintageState.REJECTED}:
        return next((v for v in earlier if v.is_live), earlier[-1]), later
    return earlier[-1], later


def _version(found: Sequence[Vintage], version: int) -> Vintage:
    for vintage in found:
        if vintage.receipt.version == version:
            return vintage
    there = ", ".join(str(vintage.receipt.version) for vintage in found)
    msg = f"{found[0].partition} has no version {version}; there are {there}"
    raise UsageError(msg)
