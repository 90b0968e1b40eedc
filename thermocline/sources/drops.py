"""Drop folders on this machine's disk.

A file that was taken in goes to `done/` inside the folder, one that can't be to `failed/` with a text beside it that
says why. Both are renamed, so at every instant a file is in one place. Where a folder is to be left as it is, nothing
moves.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thermocline.errors import SourceError, UsageError
from thermocline.ports import DropFolder, Dropped
from thermocline.settings import Drop

DONE, FAILED = "done", "failed"
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart")
"""How programs name files that they are still writing."""
_REASON = ".reason.txt"


@dataclass(frozen=True)
class LocalDropFolder:
    """See `DropFolder`."""

    folder: Path
    dataset: str
    source: str = "files"
    pattern: str = "**/*"
    settle_seconds: int = 10
    keep: bool = False

    def files(self) -> Sequence[Dropped]:
        """See `DropFolder.files`.

        Raises:
            SourceError: The folder can't be read.
        """
        if not self.folder.is_dir():
            msg = f"the drop folder {self.folder} does not exist; make it, or change `drops` in thermocline.yaml"
            raise SourceError(msg)
        names = (path.relative_to(self.folder) for path in self.folder.glob(self.pattern))
        found = [self.find(name.as_posix()) for name in names if _is_file_of_a_user(name)]
        return sorted((each for each in found if each), key=lambda each: (each.changed_ns, each.name))

    def find(self, name: str) -> Dropped | None:
        """See `DropFolder.find`."""
        path = self.folder / name
        if not path.is_file() or not path.resolve().is_relative_to(self.folder.resolve()):
            return None
        try:
            state = path.stat()
        except FileNotFoundError:
            return None
        return Dropped(name, str(path), state.st_size, state.st_mtime_ns)

    def done(self, file: Dropped) -> str:
        """See `DropFolder.done`."""
        return file.path if self.keep else str(self._moved(file, DONE))

    def refuse(self, file: Dropped, reason: str) -> str:
        """See `DropFolder.refuse`."""
        if self.keep:
            return file.path
        moved = self._moved(file, FAILED)
        moved.with_name(moved.name + _REASON).write_text(f"{reason}\n", encoding="utf-8")
        return str(moved)

    def _moved(self, file: Dropped, where: str) -> Path:
        """Rename the file; where another of its name lies already, its mark is put before the name."""
        target = self.folder / where / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target = target.with_name(f"{file.mark}-{target.name}")
        os.replace(file.path, target)  # noqa: PTH105  # the path is text
        return target


@dataclass(frozen=True)
class LocalDrops:
    """See `DropFactory`."""

    drops: Mapping[str, Drop]

    @property
    def names(self) -> Sequence[str]:
        """See `DropFactory.names`."""
        return sorted(self.drops)

    def __call__(self, name: str) -> DropFolder:
        """See `DropFactory`."""
        if name not in self.drops:
            there = ", ".join(self.names) or "none"
            msg = f"no drop folder is called {name!r}; `drops` in thermocline.yaml has {there}"
            raise UsageError(msg)
        own = self.drops[name]
        return LocalDropFolder(Path(own.folder), own.dataset, own.source, own.pattern, own.settle_seconds, own.keep)


def _is_file_of_a_user(name: Path) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)
    return not (hidden or name.parts[0] in {DONE, FAILED} or name.name.lower().endswith(_UNFINISHED))
