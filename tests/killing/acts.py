"""What a process does before it dies: the verbs of the Python API, by name, with arguments that JSON can hold."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

import thermocline
from killing.bucket import in_a_bucket, tiering_of
from killing.rows import from_json, table
from thermocline.api import Thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.records import as_json
from thermocline.model.rejected import Rejected
from thermocline.ports import Fetched, FetchRequest
from thermocline.settings import load_settings
from thermocline.sources.transport.paging import Answer, Paging, pages_of

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A source of rows that are there already, in so many pages, and of records that nobody can read."""

    table: pa.Table
    unreadable: tuple[tuple[str, str], ...] = ()
    pages: int = 2
    name: str = "made"

    def fetch(self, _: FetchRequest) -> Iterator[Fetched]:
        """Yield the pages."""
        size = -(-len(self.table) // self.pages) or 1
        for number, start in enumerate(range(0, max(len(self.table), 1), size)):
            unreadable = self.unreadable if number == 0 else ()
            yield Fetched(self.table.slice(start, size), f"page {number}", unreadable)


@dataclass(frozen=True)
class Vendor:
    """A source that asks for the first half of a table and then for the second."""

    table: pa.Table
    name: str = "made"

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the pages."""
        half = len(self.table) // 2
        halves = {None: Answer(self.table.slice(0, half), "rest"), "rest": Answer(self.table.slice(half), None)}
        long_ago = datetime(2024, 1, 1, tzinfo=UTC)
        return pages_of(
            Paging("everything", {}, halves.__getitem__, lambda page: Fetched(page.rows, "page"), long_ago),
            self.name,
            request,
        )


def backfill(tc: Thermocline, order: Arguments) -> None:
    """Bring rows to the lake."""
    source = Table(table(order["dataset"], from_json(order["rows"])), tuple(map(tuple, order.get("unreadable", ()))))
    tc.backfill(order["dataset"], source=source, as_of=order["as_of"])


def fetch(tc: Thermocline, order: Arguments) -> None:
    """Bring rows of a vendor to the lake, who answers in two pages."""
    rows = table(order["dataset"], from_json(order["rows"]))
    tc.backfill(order["dataset"], source=Vendor(rows), as_of=order["as_of"])


def backfill_by_name(tc: Thermocline, order: Arguments) -> None:
    """Bring rows of a source that is called by its name."""
    tc.backfill(order["dataset"], **order["asked"])


def ingest(tc: Thermocline, order: Arguments) -> None:
    """Take rows in at once; a row without a price goes to quarantine."""
    rows = table(order["dataset"], from_json(order["rows"]))
    if order.get("with_a_bad_row"):
        bad = rows.slice(0, 1)
        column = "open" if "open" in rows.column_names else "headline"
        nothing = pa.nulls(1, bad.schema.field(column).type)
        bad = bad.set_column(bad.column_names.index(column), bad.schema.field(column), nothing)
        rows = pa.concat_tables([bad, rows])
    tc.ingest(order["dataset"], rows, as_of=order["as_of"])


def release(tc: Thermocline, order: Arguments) -> None:
    """Release rows, also over others of their keys; they are put in quarantine first where they are not there yet."""
    records = as_json(table(order["dataset"], from_json(order["rows"])))
    kept = [Rejected(order["dataset"], "made", "a file", record, "volume: odd", ("volume",)) for record in records]
    tc.hot.quarantine(kept, run_id="made")
    tc.quarantine_release([order["dataset"]], accept=True, as_of=order["as_of"])


def load(tc: Thermocline, order: Arguments) -> None:
    """Bring the window to hot."""
    tc.load_hot(order["datasets"], as_of=order["as_of"])


def rotate(tc: Thermocline, order: Arguments) -> None:
    """Move what is due to cold; a day that can't be moved is a failure."""
    result = tc.rotate(order["datasets"], as_of=order["as_of"])
    if result.failed:
        raise AssertionError(result.failed)


def undo(tc: Thermocline, order: Arguments) -> None:
    """Bring rotated days back, those at least that can come back as they were."""
    tc.undo(order["dataset"], start=order["start"], end=order["end"])


def rehydrate(tc: Thermocline, order: Arguments) -> None:
    """Bring cold days to hot."""
    tc.rehydrate(order["dataset"], start=order["start"], end=order["end"])


def delete(tc: Thermocline, order: Arguments) -> None:
    """Delete a symbol's rows of some days from both tiers."""
    tc.delete(order["dataset"], symbols=order["symbols"], start=order.get("start"), end=order.get("end"))


def cleanup(tc: Thermocline, order: Arguments) -> None:
    """Adopt a plain table; where it is adopted already, move what is due."""
    tc.cleanup(tc.plan_cleanup(order["dataset"], as_of=order["as_of"]))


def accept(tc: Thermocline, order: Arguments) -> None:
    """Make live what is held."""
    result = tc.accept(order["dataset"])
    if result.failed:
        raise AssertionError(result.failed)


def reject(tc: Thermocline, order: Arguments) -> None:
    """Never make live what is held."""
    tc.reject(order["dataset"])


def compact(tc: Thermocline, order: Arguments) -> None:
    """Bring closed months together."""
    tc.compact(order["datasets"], as_of=order["as_of"])


def expire(tc: Thermocline, order: Arguments) -> None:
    """Let go of vintages that were superseded a while before `as_of`, and of every object without a name."""
    tc.expire(order["datasets"], keep_vintages_days=1, grace_hours=0, as_of=order["as_of"])


def tiers(tc: Thermocline, order: Arguments) -> None:
    """Let go of days whose retention is over."""
    environ = {f"THERMOCLINE_STORAGE__RETENTION__{name}": value for name, value in order["retention"].items()}
    with thermocline.open(settings=load_settings(tc.settings.home, environ=environ)) as aged:
        plan = aged.plan_tiers(order["datasets"], as_of=order["as_of"])
        done = aged.apply_tiers(plan, order["datasets"], as_of=order["as_of"])
        if done.failed:
            raise AssertionError(done.failed)


def transition(tc: Thermocline, order: Arguments) -> None:
    """Move what is due to another storage class of a bucket; a second time nothing is due."""
    with thermocline.open(home=tc.settings.home) as opened:
        tiering = tiering_of(in_a_bucket(opened), order["as_of"])
        done = tiering.apply([MARKET_DATA], tiering.plan([MARKET_DATA]).digest, run_id="tiers")
        if done.failed or done.stopped:
            raise AssertionError(done)


def drill(tc: Thermocline, order: Arguments) -> None:
    """Restore a few days for a trial."""
    tc.drill(order["datasets"], count=2, seed=order["seed"])


def recover(tc: Thermocline, order: Arguments) -> None:
    """Rebuild a lost ledger."""
    tc.recover(order["datasets"])


def derive(tc: Thermocline, order: Arguments) -> None:
    """Derive features of what is due."""
    tc.derive(as_of=order["as_of"])


def evolve(tc: Thermocline, order: Arguments) -> None:
    """Give a dataset a column, as somebody does who has just declared it."""
    declared = json.dumps({order["dataset"]: {"columns": order["columns"]}})
    settings = load_settings(tc.settings.home, environ={"THERMOCLINE_DATASETS": declared})
    with thermocline.open(settings=settings) as wider:
        wider.evolve(order["dataset"])


ACTS: Mapping[str, Callable[[Thermocline, Arguments], None]] = {
    act.__name__: act
    for act in (
        *(backfill, fetch, backfill_by_name, ingest, release, load, rotate, undo, rehydrate, delete, cleanup),
        *(accept, reject, compact, expire, tiers, transition, drill, recover, evolve, derive),
    )
}


def do(home: str, name: str, order: Arguments) -> None:
    """Do one act as a process does that was started for it: open everything, act, close."""
    with thermocline.open(home=home) as tc:
        ACTS[name](tc, order)
