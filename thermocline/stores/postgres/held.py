"""Vintages that wait for a person: held, then accepted or rejected. All inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime

from thermocline.errors import StaleStateError
from thermocline.model.receipt import Vintage, VintageState
from thermocline.ports import Act, Holding, Publication
from thermocline.stores.postgres import ledger
from thermocline.stores.postgres.connection import Connection


def hold(connection: Connection, holdings: Sequence[Holding], *, run_id: str) -> None:
    """Note vintages that wait for a person."""
    at = ledger.now(connection)
    vintages = [
        Vintage(holding.receipt, at, state=VintageState.HELD, reason=holding.restatement.reason) for holding in holdings
    ]
    ledger.insert_vintages(connection, vintages)
    ledger.name_again(connection, (holding.receipt for holding in holdings))
    for holding in holdings:
        detail = {"version": holding.receipt.version, "path": holding.receipt.path} | holding.restatement.counts()
        ledger.record(connection, Act("hold", holding.receipt.partition, run_id, detail))


def accept(connection: Connection, publication: Publication, at: datetime) -> None:
    """Make held vintages live, or note which published vintage has their rows. To be called after that is written."""
    merged = {receipt.partition: receipt.version for receipt in publication.receipts}
    for vintage in publication.accepted:
        partition, version = vintage.partition, vintage.receipt.version
        live_version = merged.get(partition, version)
        if partition in merged:
            _end(connection, vintage, vintage.accepted_in(live_version))
        else:
            ledger.supersede(connection, [partition], at)
            _alter(connection, vintage, VintageState.PUBLISHED, at, vintage.reason)
        detail = {"version": version, "live_version": live_version, "rows": vintage.receipt.contents.rows}
        ledger.record(connection, Act("accept", partition, publication.run_id, detail | {"reason": vintage.reason}))


def reject(connection: Connection, vintages: Sequence[Vintage], *, run_id: str, reason: str) -> None:
    """Note that held vintages are never to be live; their objects may go in time."""
    for vintage in vintages:
        _end(connection, vintage, f"{vintage.reason}; {reason}" if reason else vintage.reason)
        detail = {"version": vintage.receipt.version, "path": vintage.receipt.path, "reason": vintage.reason}
        ledger.record(connection, Act("reject", vintage.partition, run_id, detail))


def _end(connection: Connection, vintage: Vintage, reason: str) -> None:
    _alter(connection, vintage, VintageState.REJECTED, vintage.published_at, reason)
    ledger.note_unnamed(connection, vintage.partition.dataset, [vintage.receipt.path])


def _alter(connection: Connection, vintage: Vintage, state: VintageState, at: datetime, reason: str) -> None:
    partition = vintage.partition
    changed = connection.execute(
        """UPDATE thermocline.vintage SET state = %s, published_at = %s, reason = %s
           WHERE (dataset, interval, day, version) = (%s, %s, %s, %s) AND state = 'held'""",
        (state.value, at, reason, partition.dataset, partition.interval, partition.day, vintage.receipt.version),
    )
    if changed.rowcount != 1:
        msg = f"version {vintage.receipt.version} of {partition} is not held any more; nothing was done"
        raise StaleStateError(msg)
