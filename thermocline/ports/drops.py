"""Folders into which others put files that are to be taken in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that lies in a drop folder: its name below the folder, its path, and what tells whether it changed."""

    name: str
    path: str
    size_bytes: int
    changed_ns: int

    @property
    def mark(self) -> str:
        """A word that is another one once the file was written to, or put there anew."""
        return f"{self.size_bytes}-{self.changed_ns}"


class DropFolder(Protocol):
    """A folder into which others put files."""

    @property
    def dataset(self) -> str:
        """What the files hold rows of."""
        ...

    @property
    def source(self) -> str:
        """The source that reads them."""
        ...

    @property
    def settle_seconds(self) -> int:
        """How long a file must have lain unchanged before it counts as whole."""
        ...

    @property
    def keep(self) -> bool:
        """Whether files stay where they are, once they were taken in."""
        ...

    def files(self) -> Sequence[Dropped]:
        """The files that lie there, oldest first; hidden ones, and those that are named as unfinished, are none."""
        ...

    def find(self, name: str) -> Dropped | None:
        """The file of that name, if it lies there."""
        ...

    def done(self, file: Dropped) -> str:
        """Put a file away that was taken in; returns where it is now."""
        ...

    def refuse(self, file: Dropped, reason: str) -> str:
        """Put a file away that can't be taken in, with the reason beside it; returns where it is now."""
        ...


class DropFactory(Protocol):
    """The drop folders of the settings."""

    @property
    def names(self) -> Sequence[str]:
        """What they are called."""
        ...

    def __call__(self, name: str) -> DropFolder:
        """The folder of that name.

        Raises:
            UsageError: None is called so.
        """
        ...
