"""Progress bars on stderr, drawn by rich."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bars:
    """The port `Progress` as bars, one a stage; they are wiped away when the work is done."""

    def __init__(self) -> None:
        """Make the bars; nothing is drawn before a stage begins."""
        self._drawn = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._stage: TaskID | None = None

    def __enter__(self) -> Self:
        """Draw nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wipe the bars away."""
        self._drawn.stop()

    def begin(self, what: str, total: int | None) -> None:
        """See `Progress.begin`."""
        if self._stage is not None:
            self._drawn.remove_task(self._stage)
            self._stage = None
        if total != 0:
            self._drawn.start()
            self._stage = self._drawn.add_task(what, total=total)

    def advance(self, steps: int = 1) -> None:
        """See `Progress.advance`."""
        if self._stage is not None:
            self._drawn.advance(self._stage, steps)
