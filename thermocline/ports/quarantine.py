"""Where rows are kept that may not go in, until somebody says what becomes of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from thermocline.model.dataset import Dataset
from thermocline.model.rejected import Rejected


class QuarantineState(StrEnum):
    """What became of a row in quarantine."""

    KEPT = "kept"  # nobody has said anything yet
    RELEASED = "released"  # it was accepted after all
    DROPPED = "dropped"  # it shall never go in


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row in quarantine. `judged_at` and what follows say who released or dropped it, in which run, and why."""

    quarantine_id: int
    row: Rejected
    state: QuarantineState
    at: datetime
    run_id: str
    judged_at: datetime | None = None
    judged_by: str = ""
    judged_run: str = ""
    why: str = ""

    def document(self) -> dict[str, Any]:
        """The row as one flat JSON object."""
        return {
            "id": self.quarantine_id,
            "dataset": self.row.dataset,
            "source": self.row.source,
            "origin": self.row.origin,
            "rules": list(self.row.rules),
            "reason": self.row.reason,
            "record": self.row.record,
            "state": self.state.value,
            "at": self.at.isoformat(),
            "run_id": self.run_id,
            "judged_at": None if self.judged_at is None else self.judged_at.isoformat(),
            "judged_by": self.judged_by or None,
            "judged_run": self.judged_run or None,
            "why": self.why or None,
        }


@dataclass(frozen=True, slots=True)
class QuarantineGroup:
    """Rows in quarantine that break the same rules, from one source, and one of their reasons."""

    dataset: str
    source: str
    rules: tuple[str, ...]
    state: QuarantineState
    rows: int
    first_at: datetime
    last_at: datetime
    example: str

    def document(self) -> dict[str, Any]:
        """The group as one flat JSON object."""
        return {
            "dataset": self.dataset,
            "source": self.source,
            "rules": list(self.rules),
            "state": self.state.value,
            "rows": self.rows,
            "first_at": self.first_at.isoformat(),
            "last_at": self.last_at.isoformat(),
            "example": self.example,
        }


@dataclass(frozen=True)
class QuarantineQuery:
    """Rows in quarantine that are asked for. What is empty stands for all; of `rules` a row breaks one at least."""

    datasets: Collection[Dataset] = ()
    sources: Collection[str] = ()
    rules: Collection[str] = ()
    states: Collection[QuarantineState] = (QuarantineState.KEPT,)
    ids: Collection[int] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What somebody says of rows of one dataset that are kept: released or dropped, and why."""

    dataset: Dataset
    ids: Sequence[int]
    state: QuarantineState
    why: str = ""

    @property
    def act_name(self) -> str:
        """What the audit log calls it."""
        return "quarantine-release" if self.state is QuarantineState.RELEASED else "quarantine-drop"

    @property
    def detail(self) -> dict[str, Any]:
        """What the audit log says of it."""
        return {
            "dataset": self.dataset.name,
            "rows": len(self.ids),
            "first_id": min(self.ids),
            "last_id": max(self.ids),
            "reason": self.why,
        }


class Quarantine(Protocol):
    """Where rows are kept that may not go in."""

    def quarantine(self, rejected: Sequence[Rejected], *, run_id: str) -> None:
        """Keep rows that may not go in, with their reasons.

        The same row of the same origin for the same reason is kept once, and what was said of it stands.
        """
        ...

    def quarantined(self, asked: QuarantineQuery) -> list[Quarantined]:
        """The rows that are asked for, in the order they came."""
        ...

    def quarantine_groups(self, asked: QuarantineQuery) -> list[QuarantineGroup]:
        """How many rows there are of each kind, largest groups first."""
        ...

    def judge(self, verdict: Verdict, *, run_id: str) -> None:
        """Note what was said of rows, in the audit log too. To release rows, hand the verdict to `Hot.ingest`.

        Raises:
            StaleStateError: Somebody else has said something of one of them meanwhile; nothing was changed.
        """
        ...

    def purge(self, asked: QuarantineQuery, *, before: datetime, run_id: str) -> int:
        """Delete rows that were released or dropped before an instant, and return how many they were."""
        ...


def judged_meanwhile(rows: int) -> str:
    """Why a verdict can't be followed."""
    return (
        f"{rows:,d} of these rows are not in quarantine any more: somebody else released or dropped them meanwhile; "
        "nothing was changed. Look again with `thermocline quarantine list`"
    )
