"""Everything that Thermocline does, in any order, against a model of a few dictionaries.

The model knows what a row is, which of two rows of one key wins, and which days are hot. It knows nothing of tables,
objects, snapshots or locks. After each step, PostgreSQL and a lake on disk must answer as it does.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.settings import load_settings

STEPS = int(os.environ.get("MODEL_STEPS", "500"))
"""How many steps are made at least."""

SHRINK = "MODEL_SHRINK" in os.environ
"""Whether a failure is made smaller before it is shown, which takes minutes."""

STEPS_EACH = 50
FIRST = date(2024, 1, 26)
HOT_DAYS, UNDO_DAYS = 3, 2
HOLD_SYMBOLS, HOLD_AFTER_DAYS = 3, 2
SYMBOLS = ("A", "B", "C", "D")

Key = tuple[date, str, int]
"""A day, a symbol and a minute of it."""


@dataclass
class Model:
    """What should be there: rows as readers see them, and as the live vintages say. Moving rows changes neither."""

    today: date = FIRST + timedelta(days=8)
    seen: dict[Key, int] = field(default_factory=dict)
    cold: dict[Key, int] = field(default_factory=dict)
    hot_days: set[date] = field(default_factory=set)
    late: set[Key] = field(default_factory=set)
    kept_until: dict[date, date] = field(default_factory=dict)
    checkpoints: list[tuple[datetime, dict[Key, int]]] = field(default_factory=list)
    held: dict[date, dict[Key, int]] = field(default_factory=dict)

    @property
    def cold_days(self) -> set[date]:
        """The days that have a live vintage."""
        return {key[0] for key in self.cold}

    @property
    def late_days(self) -> set[date]:
        """The cold days that have late rows."""
        return {key[0] for key in self.late}

    @property
    def first_hot_day(self) -> date:
        """Every earlier day is due to leave."""
        return self.today - timedelta(days=HOT_DAYS)

    @property
    def due(self) -> set[date]:
        """The hot days that the next rotation takes out."""
        kept = {day for day, until in self.kept_until.items() if until > self.today}
        return {day for day in self.hot_days - kept if day < self.first_hot_day}

    def too_much(self, rows: dict[Key, int], published: dict[Key, int]) -> set[date]:
        """The published days of which the rows would change so much that a person is to look at it."""
        return {
            day
            for day in days_of(rows) & self.cold_days
            if len({key[1] for key, value in of(day, rows).items() if published.get(key, value) != value})
            >= HOLD_SYMBOLS
            and (self.today - day).days >= HOLD_AFTER_DAYS
        }

    def hold(self, days: set[date], rows: dict[Key, int]) -> None:
        """The days with the rows wait; nobody sees them."""
        for day in days:
            self.held[day] = of(day, rows)

    def backfill(self, rows: dict[Key, int]) -> None:
        """Rows over what is cold, and over whatever readers see."""
        self.seen |= rows
        self.cold |= rows

    def ingest(self, rows: dict[Key, int]) -> None:
        """Into hot where the day is hot, or may start so; else late. Readers see it at once."""
        for day in days_of(rows) - self.hot_days:
            may_start = day >= self.first_hot_day and day not in self.cold_days | self.late_days
            if may_start:
                self.hot_days.add(day)
            else:
                self.late |= of(day, rows).keys()
        self.seen |= rows

    def bring_to_hot(self, days: set[date]) -> None:
        """Cold days become hot, with their late rows."""
        self.hot_days |= days
        self.late -= {key for key in self.late if key[0] in days}

    def rotate(self) -> set[date]:
        """Days that are due leave hot, late rows are folded; the days that move."""
        moved = self.due | self.late_days
        self.cold |= {key: value for key, value in self.seen.items() if key[0] in moved}
        for day in self.due:
            self.hot_days.remove(day)
            self.kept_until.pop(day, None)
        self.late.clear()
        return moved

    def delete(self, symbol: str, first: date, end: date) -> None:
        """Rows of a symbol on some days are gone from both tiers."""
        for rows in (self.seen, self.cold):
            for key in [key for key in rows if key[1] == symbol and first <= key[0] < end]:
                del rows[key]
                self.late.discard(key)


def of(day: date, rows: dict[Key, int]) -> dict[Key, int]:
    """Those of the rows that are of the day."""
    return {key: value for key, value in rows.items() if key[0] == day}


def days_of(rows: dict[Key, int]) -> set[date]:
    """The days that the rows are of."""
    return {key[0] for key in rows}


keys = st.tuples(st.integers(0, 11), st.sampled_from(SYMBOLS), st.integers(0, 2)).map(
    lambda key: (FIRST + timedelta(days=key[0]), key[1], key[2])
)
some_rows = st.dictionaries(keys, st.integers(1, 9), min_size=1, max_size=8)


def table(rows: dict[Key, int]) -> pa.Table:
    """The rows as one-minute bars; the value is in a price and in the volume."""
    made = [(day, symbol, minute, Decimal(value)) for (day, symbol, minute), value in sorted(rows.items())]
    return pa.table(
        {
            "asset_class": ["equity"] * len(made),
            "symbol": [symbol for _, symbol, _, _ in made],
            "interval": ["1min"] * len(made),
            "ts": pa.array([at(day, minute) for day, _, minute, _ in made], pa.timestamp("us", tz="UTC")),
            **{name: [price for *_, price in made] for name in ("open", "high", "low", "close")},
            "volume": [float(price) for *_, price in made],
        }
    )


def rows_in(answer: pa.Table) -> dict[Key, int]:
    """What `table` was made of. A key that comes twice is a failure."""
    found = {
        (row["ts"].date(), row["symbol"], row["ts"].minute): int(row["volume"])
        for row in answer.select(["symbol", "ts", "volume", "close"]).to_pylist()
        if row["close"] == row["volume"]
    }
    assert len(found) == len(answer), f"{len(answer)} rows, {len(found)} of them of different keys and whole"
    return found


def at(day: date, minute: int) -> datetime:
    """The instant of a bar."""
    return datetime(day.year, day.month, day.day, 10, minute, tzinfo=UTC)


class Machine(RuleBasedStateMachine):
    """The real thing beside the model."""

    steps = 0

    def __init__(self, new_home: Callable[[], tuple[Path, dict[str, str]]]) -> None:
        """Begin with an empty home."""
        super().__init__()
        self.opened = ExitStack()
        home, environ = new_home()
        self.tc = self.opened.enter_context(thermocline.open(settings=load_settings(home, environ=environ)))
        self.model = Model()

    def teardown(self) -> None:
        """Close what was opened."""
        self.opened.close()

    def _published(self) -> None:
        """Note what the lake says from now on."""
        self.model.checkpoints.append((datetime.now(UTC), dict(self.model.cold)))

    # -------------------------------------------------------------------------------------------------- rows come in

    @rule(rows=some_rows)
    def backfill(self, rows):
        """Days of a source go to the lake."""
        self.reject()
        held = self.model.too_much(rows, self.model.cold)
        self.tc.save("market_data", table(rows), as_of=self.model.today)
        self.model.hold(held, rows)
        self.model.backfill({key: value for key, value in rows.items() if key[0] not in held})
        self._published()

    @rule(rows=some_rows)
    def ingest(self, rows):
        """Rows are accepted live: new days, changed rows, and late ones."""
        self.reject()
        held = self.model.too_much(rows, self.model.seen)
        done = self.tc.ingest("market_data", table(rows), as_of=self.model.today)
        assert {moved.partition.day for moved in done.held} == held
        self.model.hold(held, rows)
        self.model.ingest({key: value for key, value in rows.items() if key[0] not in held})
        self._published()

    @precondition(lambda self: self.model.cold)
    @rule(choice=st.data(), live=st.booleans())
    def restate_a_day(self, choice, live):
        """Every row of a published day gets another value."""
        day = choice.draw(st.sampled_from(sorted(self.model.cold_days)))
        rows = {key: value + 20 for key, value in of(day, self.model.cold).items()}
        (self.ingest if live else self.backfill)(rows)

    @precondition(lambda self: self.model.held)
    @rule()
    def accept(self):
        """A person lets through what is held."""
        assert self.tc.accept("market_data").failed == []
        for rows in self.model.held.values():
            self.model.backfill(rows)
        self.model.held.clear()
        self._published()

    @rule()
    def reject(self):
        """A person refuses what is held."""
        if self.model.held:
            assert self.tc.reject("market_data").failed == []
            self.model.held.clear()

    @precondition(lambda self: self.model.cold)
    @rule(choice=st.data())
    def restate(self, choice):
        """Some rows of the lake get another value."""
        changed = choice.draw(st.sets(st.sampled_from(sorted(self.model.cold)), min_size=1, max_size=3))
        self.backfill({key: self.model.cold[key] + 10 for key in sorted(changed)})

    @precondition(lambda self: self.model.cold)
    @rule(choice=st.data())
    def repeat(self, choice):
        """A source says again what the lake says already; readers may have got something else in between."""
        again = choice.draw(st.sets(st.sampled_from(sorted(self.model.cold)), min_size=1, max_size=6))
        self.backfill({key: self.model.cold[key] for key in sorted(again)})

    @rule(symbol=st.sampled_from(SYMBOLS), first=st.integers(0, 11), days=st.integers(1, 4))
    def delete(self, symbol, first, days):
        """Rows go from both tiers, on purpose."""
        self.reject()
        start = FIRST + timedelta(days=first)
        end = start + timedelta(days=days)
        self.tc.delete("market_data", symbols=[symbol], interval="1min", start=start, end=end)
        self.model.delete(symbol, start, end)
        self._published()

    # ---------------------------------------------------------------------------------------------------- rows move

    @rule()
    def night(self):
        """The next day begins; what is due leaves PostgreSQL, and what was kept for long enough is dropped."""
        self.model.today += timedelta(days=1)
        self.rotate()

    @rule()
    def rotate(self):
        """Days that are due leave PostgreSQL, late rows are folded."""
        done = self.tc.rotate(as_of=self.model.today)
        assert done.failed == []
        assert {moved.partition.day for moved in done.moved} == self.model.rotate()
        self._published()

    @rule()
    def load(self):
        """The last days come to PostgreSQL."""
        done = self.tc.load_hot(["market_data"], as_of=self.model.today)
        recent = {day for day in self.model.cold_days if day >= self.model.first_hot_day}
        assert {moved.partition.day for moved in done.moved} >= recent - self.model.hot_days
        self.model.bring_to_hot(recent)

    @rule(first=st.integers(0, 11), days=st.integers(1, 4), kept=st.integers(1, 3))
    def rehydrate(self, first, days, kept):
        """Cold days come back to PostgreSQL for a while, whatever their age."""
        start, today = FIRST + timedelta(days=first), self.model.today
        end = start + timedelta(days=days)
        self.tc.rehydrate("market_data", start=start, end=end, days=kept, as_of=today)
        back = {day for day in self.model.cold_days | self.model.hot_days if start <= day < end}
        self.model.bring_to_hot(back)
        for day in back:
            until = today + timedelta(days=kept)
            self.model.kept_until[day] = max(until, self.model.kept_until.get(day, until))

    @rule(first=st.integers(0, 11), days=st.integers(1, 4))
    def undo(self, first, days):
        """Rotated days come back as they were, unless something was said of them since."""
        start = FIRST + timedelta(days=first)
        done = self.tc.undo("market_data", start=start, end=start + timedelta(days=days))
        back = {moved.partition.day for moved in done.moved}
        assert not back & (self.model.hot_days | self.model.late_days)
        self.model.bring_to_hot(back)

    # --------------------------------------------------------------------------------------------- the lake is kept

    @rule()
    def compact(self):
        """Closed months become one object each."""
        assert self.tc.compact(["market_data"], as_of=self.model.today + timedelta(days=20)).failed == []

    @rule()
    def expire(self):
        """Objects that no vintage names are deleted at once, as no query is running."""
        self.tc.expire(["market_data"], grace_hours=0)

    @rule()
    def release(self):
        """What was detached is dropped: it is ten years later, and the days that may be hot still may."""
        later = self.model.today.replace(year=self.model.today.year + 10)
        window = (later - self.model.first_hot_day).days
        assert self.tc.rotate(as_of=later, hot_days=window).failed == []
        self.model.kept_until.clear()
        self.model.rotate()
        self._published()
        assert self.tc.hot.detached(MARKET_DATA) == []

    @rule()
    def verify(self):
        """Every object is what its receipt says, and the table names just them."""
        report = self.tc.verify(["market_data"])
        assert (report.failed, report.table) == ([], [])

    # ------------------------------------------------------------------------------------------- rows are asked for

    @invariant()
    def everything_is_there_once(self):
        """The whole of it, and the books."""
        type(self).steps += 1
        assert rows_in(self.tc.query("market_data").to_arrow()) == self.model.seen
        held = self.tc.vintages("market_data", states=["held"])
        assert {vintage.partition.day for vintage in held} == self.model.held.keys()
        assert {day.partition.day for day in self.tc.hot.hot_days(MARKET_DATA)} == self.model.hot_days
        assert {partition.day for partition in self.tc.hot.late(MARKET_DATA)} == self.model.late_days
        live = self.tc.hot.live(MARKET_DATA, ALL_DAYS)
        assert {vintage.partition.day for vintage in live} == self.model.cold_days
        assert self.tc.lake.paths(MARKET_DATA) == {vintage.receipt.path for vintage in live}

    @rule(key=keys)
    def point(self, key):
        """One bar."""
        day, symbol, minute = key
        asked = {"start": at(day, minute), "end": at(day, minute) + timedelta(minutes=1)}
        found = self.tc.query("market_data", symbols=[symbol], interval="1min", **asked).to_arrow()
        assert rows_in(found) == {k: value for k, value in self.model.seen.items() if k == key}

    @rule(symbol=st.sampled_from(SYMBOLS), first=st.integers(0, 11), days=st.integers(1, 8))
    def range(self, symbol, first, days):
        """A symbol over some days, across both tiers."""
        start = FIRST + timedelta(days=first)
        found = self.tc.query("market_data", symbols=[symbol], start=start, end=start + timedelta(days=days)).to_arrow()
        wanted = {k: v for k, v in self.model.seen.items() if k[1] == symbol and 0 <= (k[0] - start).days < days}
        assert rows_in(found) == wanted

    @rule()
    def aggregate(self):
        """A sum in SQL."""
        [row] = self.tc.sql("SELECT count(*) AS n, sum(volume) AS total FROM market_data").to_arrow().to_pylist()
        assert (row["n"], row["total"] or 0) == (len(self.model.seen), sum(self.model.seen.values()))

    @precondition(lambda self: self.model.checkpoints)
    @rule(choice=st.data())
    def as_of(self, choice):
        """What the lake said at an earlier instant, whatever has come since."""
        at, cold = choice.draw(st.sampled_from(self.model.checkpoints))
        assert rows_in(self.tc.query("market_data", as_of_vintage=at).to_arrow()) == cold

    @rule()
    def lake_alone(self):
        """What the live vintages say, which other engines read."""
        with thermocline.open(settings=self.tc.settings, storage="parquet") as lake:
            assert rows_in(lake.load("market_data").to_arrow()) == self.model.cold


@pytest.mark.timeout(1800)
def test_any_order_of_acts_leaves_what_the_model_says(new_database, tmp_path, record_property):
    made = iter(range(10**6))

    def new_home():
        home = tmp_path / str(next(made))
        home.mkdir()
        (home / "thermocline.yaml").write_text(
            f"storage:\n  lifecycle:\n    hot_days: {HOT_DAYS}\n    hot_intervals: [1min]\n    undo_days: {UNDO_DAYS}\n"
            f"    restatements: {{hold_symbols: {HOLD_SYMBOLS}, hold_share: 0, hold_after_days: {HOLD_AFTER_DAYS}}}\n"
        )
        return home, {"THERMOCLINE_HOT_URL": new_database("embedded")}

    Machine.steps = 0
    run_state_machine_as_test(
        lambda: Machine(new_home),
        settings=settings(
            max_examples=STEPS // STEPS_EACH + 2,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            derandomize=STEPS <= 600,
            database=None,
            phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Machine.steps >= STEPS, f"only {Machine.steps} steps"
    record_property("counted", f"{Machine.steps} steps of any act in any order, each compared with the model")
