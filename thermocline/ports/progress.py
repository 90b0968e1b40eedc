"""How far a long act has come."""

from typing import Protocol


class Progress(Protocol):
    """Told how far a long act has come. A progress bar is one; `SILENT` is none."""

    def begin(self, what: str, total: int | None) -> None:
        """A stage begins; `total` is how many steps it has, when that is known."""
        ...

    def advance(self, steps: int = 1) -> None:
        """So many steps of the stage are done."""
        ...


class _Silent:
    def begin(self, what: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, steps: int = 1) -> None:
        """Say nothing."""


SILENT: Progress = _Silent()
"""Progress that nobody looks at."""
