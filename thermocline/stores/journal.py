"""The journal's files: one for each commit, written before it and read back, and never changed."""

import itertools
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

from thermocline.errors import FingerprintMismatchError, ObjectExistsError, UsageError
from thermocline.model.dataset import Dataset
from thermocline.model.journal import Entry, Journal
from thermocline.model.paths import journal_path, journal_prefix
from thermocline.ports import Objects

_THREADS = 8


class JournalFiles:
    """The journals of all datasets in a store of objects."""

    def __init__(self, objects: Objects) -> None:
        """Keep the store; nothing is read yet."""
        self._objects = objects

    def read(self, dataset: Dataset, runs: Collection[str] = ()) -> Journal:
        """All of a dataset's journal, or what some runs wrote of it, oldest first, as far as it can be read."""
        paths = list(self._objects.list(journal_prefix(dataset.name)))
        if runs:
            theirs = tuple(_begins(dataset, run_id) for run_id in runs)
            paths = [path for path in paths if path.startswith(theirs)]
        with ThreadPoolExecutor(_THREADS) as threads:
            files = list(threads.map(self._entries, paths))
        # The sort is stable: entries of one commit stay in their order.
        entries = sorted((entry for found, _ in files for entry in found), key=lambda entry: entry.at)
        return Journal(entries, [path for path, (_, whole) in zip(paths, files, strict=True) if not whole])

    def write(self, dataset: Dataset, entries: Sequence[Entry], run_id: str) -> str:
        """Write entries as the next file of the run, and give its path.

        Raises:
            FingerprintMismatchError: What the store has is not what was written.
        """
        lines = "".join(f"{entry.to_json()}\n" for entry in entries).encode()
        earlier = self._objects.list(_begins(dataset, run_id))
        for number in itertools.count(sum(1 for _ in earlier)):
            path = journal_path(dataset.name, run_id, number)
            try:
                self._objects.put(path, BytesIO(lines))
            except ObjectExistsError:
                continue
            self._confirm(path, lines)
            return path
        raise AssertionError  # pragma: no cover  # the count has no end

    def _confirm(self, path: str, lines: bytes) -> None:
        """Read a file of the journal back: it is what a lost database is made anew from."""
        try:
            with self._objects.open(path) as stream:
                found = stream.read()
        except FileNotFoundError:
            found = None
        if found != lines:
            what = "is not there" if found is None else "holds something else"
            msg = (
                f"{self._objects.location(path)} was written and {what} when it was read back; nothing was published. "
                "Look at the store, then run it again"
            )
            raise FingerprintMismatchError(msg)

    def _entries(self, path: str) -> tuple[list[Entry], bool]:
        """The entries of one file of the journal up to the first that can't be read, and whether that was all."""
        found: list[Entry] = []
        with self._objects.open(path) as stream:
            for line in stream.read().splitlines():
                try:
                    found.append(Entry.from_json(line.decode()))
                except (ValueError, LookupError, TypeError, UsageError):
                    return found, False
        return found, bool(found)


def _begins(dataset: Dataset, run_id: str) -> str:
    """What the paths of a run's files begin with."""
    return journal_path(dataset.name, run_id, 0).removesuffix("00000.jsonl")
