"""Trouble: what acts could not do, kept where the next person who asks finds it."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from thermocline.errors import HotStoreError, ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.model.report import Failed
from thermocline.ports import Hot, Trouble

ROTATE, RELEASE, BACKFILL, LOAD = "rotate", "release", "backfill", "load"


def troubles(hot: Hot, datasets: Sequence[Dataset]) -> list[Trouble]:
    """Every partition that an act could not do the last time that it tried, with the reason."""
    return [trouble for dataset in datasets for trouble in hot.trouble(dataset)]


def note_trouble(hot: Hot, act: str, failed: Sequence[Failed], *, run_id: str) -> None:
    """Keep failures, if PostgreSQL can be told; where it is down, the act's own error says so."""
    if failed:
        with suppress(HotStoreError):
            hot.note_trouble(act, failed, run_id=run_id)


@contextmanager
def noting_trouble(hot: Hot, act: str, partitions: Sequence[Partition], *, run_id: str) -> Iterator[None]:
    """Keep the error that leaves the block as the trouble of these partitions; it goes on its way."""
    try:
        yield
    except ThermoclineError as error:
        note_trouble(hot, act, [Failed(partition, str(error)) for partition in partitions], run_id=run_id)
        raise


def end_trouble(hot: Hot, act: str, dataset: Dataset, still_wanted: Collection[Partition]) -> None:
    """Forget the trouble of partitions that nothing asks the act to do any more."""
    over = [t.partition for t in hot.trouble(dataset) if t.act == act and t.partition not in still_wanted]
    if over:
        hot.end_trouble(act, over)
