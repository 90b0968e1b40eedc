"""Taking in a file of a drop folder, and telling which files are whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from thermocline.errors import SchemaError, SourceError, TooManyBadRowsError, UsageError
from thermocline.model.datasets import dataset_named
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import DropFolder, Dropped, FetchRequest
from thermocline.tasks.backfill import Backfill, Backfilled

ATTEMPTS = 5
AGAIN_AFTER_SECONDS = 600.0

_NANOSECONDS = 1_000_000_000


class Asked(NamedTuple):
    """What was asked for: a file with this mark, so many times, the last time at this second since 1970."""

    mark: str
    times: int
    at: float


@dataclass(frozen=True)
class Taken:
    """What became of a file: what a backfill made of its rows, and where it is now; None where it was left alone."""

    backfilled: Backfilled | None
    path: str
    why: str = ""


def settled(folder: DropFolder, before: Mapping[str, str], *, now: float) -> tuple[Sequence[Dropped], dict[str, str]]:
    """The files that are whole, and the marks of all that lie there, for the next look.

    A file is whole when it is as it was at the look before and has not been written to for `settle_seconds`.

    Args:
        folder: Where to look.
        before: The marks of the look before, by name.
        now: Seconds since 1970.
    """
    files = folder.files()
    whole = [
        file
        for file in files
        if before.get(file.name) == file.mark and file.changed_ns / _NANOSECONDS + folder.settle_seconds <= now
    ]
    return whole, {file.name: file.mark for file in files}


def due(
    folder: DropFolder,
    whole: Sequence[Dropped],
    asked: Mapping[str, Asked],
    outcomes: Mapping[str, bool | None],
    *,
    now: float,
) -> list[Dropped]:
    """The whole files that are to be taken in now.

    One that was asked for and lies there still is due again when the run for it failed or died: ten minutes after, five
    times in all. A file that was written to since is a new one, and so is one that lies where one was put away.

    Args:
        folder: Where they lie.
        whole: The files.
        asked: What was asked for, by name.
        outcomes: Whether the last run for a file did well, None while it runs; of those that were asked for.
        now: Seconds since 1970.
    """

    def is_due(file: Dropped) -> bool:
        last = asked.get(file.name)
        if last is None or last.mark != file.mark:
            return True
        if outcomes.get(file.name):
            return not folder.keep
        failed = outcomes.get(file.name) is False
        return failed and last.times < ATTEMPTS and last.at + AGAIN_AFTER_SECONDS <= now

    return [file for file in whole if is_due(file)]


def take(folder: DropFolder, name: str, backfill: Backfill, *, mark: str = "") -> Taken:
    """Backfill the rows of a file and put it away; one that can't be read, or has no good row, with the reason.

    After a kill in between the file lies where it was; taken again, its rows are there already and it is put away. A
    file that changed since it was seen (`mark`), or while it was read, is left where it is.

    Raises:
        SourceError: The file can't be taken in; the text says why and where it is now.
        ThermoclineError: Something else went wrong; the file lies where it was, to be taken again.
    """
    file = folder.find(name)
    if file is None:
        return Taken(None, "", f"{name} is not there any more; nothing was done")
    if mark and file.mark != mark:
        return Taken(None, file.path, f"{name} changed after it was seen; it is taken in when it is whole")
    try:
        done = backfill.run(FetchRequest(dataset_named(folder.dataset), ALL_DAYS))
    except (SourceError, SchemaError, TooManyBadRowsError, UsageError) as error:
        raise _refused(folder, file, str(error)) from error
    if folder.find(name) != file:
        return Taken(done, file.path, f"{name} changed while it was read; it is taken in again when it is whole")
    if done.rejected and not done.rows:
        reason = f"none of its {done.rejected:,d} rows may go in; they are in quarantine with their reasons"
        raise _refused(folder, file, reason)
    return Taken(done, folder.done(file))


def _refused(folder: DropFolder, file: Dropped, reason: str) -> SourceError:
    where = folder.refuse(file, reason)
    msg = (
        f"{file.name} can't be taken in: {reason}\nThe file is now {where}; put it back into the folder once it, or "
        "the source that reads it, is mended"
    )
    return SourceError(msg)
