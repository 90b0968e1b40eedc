"""The quarantine in this process's memory."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from thermocline.model.rejected import Rejected
from thermocline.ports import Act, Quarantined, QuarantineGroup, QuarantineQuery, QuarantineState, Verdict
from thermocline.stores.memory_state import State


class MemoryQuarantine:
    """See `Quarantine`."""

    _state: State
    _clock: Callable[[], datetime]
    transaction: Callable[[], AbstractContextManager[State]]

    def quarantine(self, rejected: Sequence[Rejected], *, run_id: str) -> None:
        """See `Quarantine.quarantine`."""
        with self.transaction() as state:
            state.reject(rejected, run_id, self._clock())

    def quarantined(self, asked: QuarantineQuery) -> list[Quarantined]:
        """See `Quarantine.quarantined`."""
        return [each for _, each in sorted(self._state.quarantine.items()) if _is_asked(each, asked)][: asked.limit]

    def quarantine_groups(self, asked: QuarantineQuery) -> list[QuarantineGroup]:
        """See `Quarantine.quarantine_groups`."""
        found: dict[tuple[str, str, tuple[str, ...], QuarantineState], list[Quarantined]] = {}
        for each in self._state.quarantine.values():
            if _is_asked(each, asked):
                row = each.row
                found.setdefault((row.dataset, row.source, row.rules, each.state), []).append(each)
        groups = [
            QuarantineGroup(
                *key,
                len(rows),
                min(each.at for each in rows),
                max(each.at for each in rows),
                min(each.row.reason for each in rows),
            )
            for key, rows in found.items()
        ]
        groups.sort(key=lambda group: (-group.rows, group.dataset, group.source, group.rules, group.state))
        return groups[: asked.limit]

    def judge(self, verdict: Verdict, *, run_id: str) -> None:
        """See `Quarantine.judge`."""
        with self.transaction() as state:
            state.judge(verdict, run_id, self._clock())

    def purge(self, asked: QuarantineQuery, *, before: datetime, run_id: str) -> int:
        """See `Quarantine.purge`."""
        with self.transaction() as state:
            gone = [
                number
                for number, each in state.quarantine.items()
                if _is_asked(each, asked) and each.judged_at is not None and each.judged_at < before
            ]
            for number in gone:
                del state.quarantine[number]
            for dataset in asked.datasets or (None,):
                detail = {"dataset": dataset and dataset.name, "rows": len(gone), "before": before.isoformat()}
                state.record(Act("quarantine-purge", None, run_id, detail), self._clock())
        return len(gone)


def _is_asked(each: Quarantined, asked: QuarantineQuery) -> bool:
    row = each.row
    return (
        (not asked.datasets or row.dataset in {dataset.name for dataset in asked.datasets})
        and (not asked.sources or row.source in asked.sources)
        and (not asked.rules or bool(set(asked.rules) & set(row.rules)))
        and (not asked.states or each.state in asked.states)
        and (not asked.ids or each.quarantine_id in asked.ids)
    )
