"""Rows that may not go in, and what was said of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from thermocline.errors import StaleStateError
from thermocline.model.rejected import Rejected
from thermocline.ports import Act, Quarantined, QuarantineGroup, QuarantineQuery, QuarantineState, Verdict
from thermocline.ports.quarantine import judged_meanwhile
from thermocline.stores.postgres import ledger
from thermocline.stores.postgres.connection import Connection

_FEW = 500
_COLUMNS = "dataset, source, origin, record, reason, rules, run_id"
_KEEP = f"""INSERT INTO thermocline.quarantine ({_COLUMNS}) %s
            ON CONFLICT (dataset, source, origin, md5(record), reason) DO NOTHING"""
_ASKED = """(%(datasets)s::text[] IS NULL OR dataset = ANY(%(datasets)s))
        AND (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s))
        AND (%(rules)s::text[] IS NULL OR rules && %(rules)s)
        AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
        AND (%(ids)s::bigint[] IS NULL OR quarantine_id = ANY(%(ids)s))"""


class PostgresQuarantine:
    """See `Quarantine`."""

    _session: Callable[[], AbstractContextManager[Connection]]

    def quarantine(self, rejected: Sequence[Rejected], *, run_id: str) -> None:
        """See `Quarantine.quarantine`."""
        with self._session() as connection, connection.transaction():
            keep(connection, rejected, run_id=run_id)

    def quarantined(self, asked: QuarantineQuery) -> list[Quarantined]:
        """See `Quarantine.quarantined`."""
        with self._session() as connection:
            rows = connection.execute(
                f"""SELECT quarantine_id, dataset, source, origin, record, reason, rules, state, at, run_id, judged_at,
                           judged_by, judged_run, why
                    FROM thermocline.quarantine WHERE {_ASKED} ORDER BY quarantine_id LIMIT %(limit)s""",  # noqa: S608  # constants
                _parameters(asked),
            )
            return [_quarantined(row) for row in rows]

    def quarantine_groups(self, asked: QuarantineQuery) -> list[QuarantineGroup]:
        """See `Quarantine.quarantine_groups`."""
        with self._session() as connection:
            rows = connection.execute(
                f"""SELECT dataset, source, rules, state, count(*), min(at), max(at), min(reason)
                    FROM thermocline.quarantine WHERE {_ASKED}
                    GROUP BY dataset, source, rules, state ORDER BY count(*) DESC, dataset, source, rules, state
                    LIMIT %(limit)s""",  # noqa: S608  # constants
                _parameters(asked),
            )
            return [
                QuarantineGroup(dataset, source, tuple(rules), QuarantineState(state), *rest)
                for dataset, source, rules, state, *rest in rows
            ]

    def judge(self, verdict: Verdict, *, run_id: str) -> None:
        """See `Quarantine.judge`."""
        with self._session() as connection, connection.transaction():
            judge(connection, verdict, run_id=run_id)

    def purge(self, asked: QuarantineQuery, *, before: datetime, run_id: str) -> int:
        """See `Quarantine.purge`."""
        with self._session() as connection, connection.transaction():
            gone = connection.execute(
                f"DELETE FROM thermocline.quarantine WHERE {_ASKED} AND state <> 'kept' AND judged_at < %(before)s",  # noqa: S608  # constants
                {**_parameters(asked), "before": before},
            ).rowcount
            for dataset in asked.datasets or (None,):
                detail = {"dataset": dataset and dataset.name, "rows": gone, "before": before.isoformat()}
                ledger.record(connection, Act("quarantine-purge", None, run_id, detail))
            return gone


def keep(connection: Connection, rejected: Sequence[Rejected], *, run_id: str) -> None:
    """Keep rows; the same row of the same origin with the same reason once."""
    rows = [(r.dataset, r.source, r.origin, _text(r.record), _text(r.reason), list(r.rules), run_id) for r in rejected]
    with connection.cursor() as cursor:
        if len(rows) <= _FEW:
            cursor.executemany(_KEEP % "VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)
            return
        cursor.execute(
            f"CREATE TEMP TABLE rejected ON COMMIT DROP AS SELECT {_COLUMNS} FROM thermocline.quarantine LIMIT 0"  # noqa: S608  # constants
        )
        with cursor.copy(f"COPY rejected ({_COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(_KEEP % f"SELECT {_COLUMNS} FROM rejected")  # noqa: S608  # constants
        cursor.execute("DROP TABLE rejected")


def judge(connection: Connection, verdict: Verdict, *, run_id: str) -> None:
    """Say of kept rows what becomes of them, in the caller's transaction."""
    judged = connection.execute(
        """UPDATE thermocline.quarantine
           SET state = %s, judged_at = clock_timestamp(), judged_by = session_user, judged_run = %s, why = %s
           WHERE quarantine_id = ANY(%s) AND dataset = %s AND state = 'kept'""",
        (verdict.state.value, run_id, verdict.why, list(verdict.ids), verdict.dataset.name),
    ).rowcount
    if judged != len(set(verdict.ids)):
        raise StaleStateError(judged_meanwhile(len(set(verdict.ids)) - judged))
    ledger.record(connection, Act(verdict.act_name, None, run_id, verdict.detail))


def _parameters(asked: QuarantineQuery) -> dict[str, Any]:
    return {
        "datasets": [dataset.name for dataset in asked.datasets] or None,
        "sources": list(asked.sources) or None,
        "rules": list(asked.rules) or None,
        "states": [state.value for state in asked.states] or None,
        "ids": list(asked.ids) or None,
        "limit": asked.limit,
    }


def _quarantined(row: Sequence[Any]) -> Quarantined:
    number, dataset, source, origin, record, reason, rules, state, *rest = row
    rejected = Rejected(dataset, source, origin, record, reason, tuple(rules))
    return Quarantined(number, rejected, QuarantineState(state), *rest)


def _text(text: str) -> str:
    """Text as PostgreSQL can hold it."""
    return text.replace("\0", "\\u0000")
