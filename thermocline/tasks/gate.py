"""The gate that every row passes which comes in: bad ones go to quarantine, and too many of them stop the batch."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from thermocline.errors import TooManyBadRowsError
from thermocline.faults import Step, step
from thermocline.model.conform import Conformed, conform
from thermocline.model.dataset import Dataset
from thermocline.model.offenders import UNKNOWN_SERIES, Series
from thermocline.model.partition import DayRange
from thermocline.model.rejected import UNREADABLE, Rejected
from thermocline.model.rules import LENIENT, Rulebook
from thermocline.ports import Fetched, FetchRequest

if TYPE_CHECKING:
    import pyarrow as pa

SPECIMENS = 1_000
"""Rows that are kept of each kind where a batch is stopped. None of its rows was taken, so none is lost."""

_BUFFERED = 50_000
"""Rows that may wait in memory to be put in quarantine."""


@dataclass
class Verdicts:
    """What became of all rows that came to the gate.

    `rejected_by`, `warned_by` and `cleared_by` count rows by the name of what they break; a row may break several.
    `quarantined` counts those that may not go in by symbol, interval and day.
    """

    rows: int = 0
    rejected: int = 0
    duplicates: int = 0
    rejected_by: Counter[str] = field(default_factory=Counter)
    warned_by: Counter[str] = field(default_factory=Counter)
    cleared_by: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[Series] = field(default_factory=Counter)

    def add(self, conformed: Conformed) -> None:
        """Count a page."""
        self.rows += len(conformed.rows) + conformed.bad_rows + conformed.duplicates
        self.rejected += conformed.bad_rows
        self.duplicates += conformed.duplicates
        self.rejected_by.update(conformed.rejected_by)
        self.warned_by.update(conformed.warned_by)
        self.cleared_by.update(conformed.cleared_by)
        self.quarantined.update(conformed.quarantined)

    def document(self) -> dict[str, Any]:
        """The counts by rule as JSON."""
        return {
            "rejected": self.rejected,
            "rejected_by": dict(self.rejected_by.most_common()),
            "warned_by": dict(self.warned_by.most_common()),
            "cleared_by": dict(self.cleared_by.most_common()),
        }


@dataclass
class Gate:
    """Takes a source's pages one by one; `finish` must be called when the last has come and before any row is kept."""

    dataset: Dataset
    source: str
    quarantine: Callable[[Sequence[Rejected]], None]
    now: datetime
    rulebook: Rulebook = LENIENT
    verdicts: Verdicts = field(default_factory=Verdicts)
    _waiting: list[Rejected] = field(default_factory=list)

    def admit(self, fetched: Fetched, days: DayRange | None = None) -> "pa.Table":
        """The rows of a page that may go in, in exactly the dataset's schema.

        Raises:
            SchemaError: A column is missing, or has a type that can't be made the dataset's.
            TooManyBadRowsError: Too many of them may not go in. Some of each kind are in quarantine.
        """
        conformed = conform(
            fetched.incoming,
            self.dataset,
            source=self.source,
            ingested_at=self.now,
            origin=fetched.origin,
            days=days,
            rulebook=self.rulebook,
        )
        self.verdicts.add(conformed)
        unreadable = len(fetched.unreadable)
        if unreadable:
            self.verdicts.rows += unreadable
            self.verdicts.rejected += unreadable
            self.verdicts.rejected_by[UNREADABLE] += unreadable
            self.verdicts.quarantined[UNKNOWN_SERIES] += unreadable
        bad = conformed.bad_rows + unreadable
        rows = len(conformed.rows) + conformed.duplicates + bad
        stopped = self.rulebook.stops(bad, rows)
        most = SPECIMENS if stopped else None
        self._waiting += [
            Rejected(self.dataset.name, self.source, fetched.origin, record, reason, (UNREADABLE,))
            for record, reason in fetched.unreadable[:most]
        ]
        for rejected in conformed.refused(most):
            self._waiting.append(rejected)
            if len(self._waiting) >= _BUFFERED:
                self._flush()
        if stopped:
            self._flush()
            raise self._stopped(fetched.origin, bad, rows)
        return conformed.rows

    def finish(self) -> None:
        """Put what waits in quarantine; all pages together may not have too many bad rows either.

        Raises:
            TooManyBadRowsError: They have.
        """
        self._flush()
        if self.rulebook.stops(self.verdicts.rejected, self.verdicts.rows):
            raise self._stopped(self.source, self.verdicts.rejected, self.verdicts.rows)

    def _flush(self) -> None:
        if self._waiting:
            with step(Step.QUARANTINE):
                self.quarantine(self._waiting)
            self._waiting = []

    def _stopped(self, origin: str, bad: int, rows: int) -> TooManyBadRowsError:
        broken = ", ".join(f"{rule} {count:,d}" for rule, count in self.verdicts.rejected_by.most_common(5))
        name = self.dataset.name
        return TooManyBadRowsError(
            f"{origin}: {bad:,d} of {rows:,d} rows may not go in ({broken}), more than the "
            f"{self.rulebook.max_bad_share:.0%} that {name} allows; nothing was written. They are in quarantine with "
            f"their reasons, or {SPECIMENS:,d} of each kind where there are more: see `thermocline quarantine list "
            f"{name}`. "
            "Mend the source and run it again; or let the good rows in with --max-bad-share 1, or the bad ones too "
            "with --strictness warn"
        )


def asked_for(rows: "pa.Table", request: FetchRequest) -> "pa.Table":
    """Rows of the symbols and intervals that were asked for; a source may deliver others along with them."""
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it
    import pyarrow.compute as pc  # noqa: PLC0415

    for column, wanted in ((request.dataset.symbol_column, request.symbols), ("interval", request.intervals)):
        if wanted and column in rows.column_names:
            rows = rows.filter(pc.is_in(rows[column], value_set=pa.array(sorted(wanted))))
    return rows
