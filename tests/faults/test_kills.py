"""Every task, killed by SIGKILL at every point it reaches.

At once, and again when the task was run a second time, everybody must see every row exactly once and nothing else.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from killing.bucket import COLDER, in_a_bucket, tiering_of
from killing.places import in_gcs, in_s3
from killing.rows import Key, as_json, day, rows
from killing.states import AS_OF, CORRECTED, IN_THE_MONTH, LONG_AFTER, RELEASABLE, STATES, UNDOABLE
from killing.world import DATASETS, World, world
from killing.zygote import Kill

import thermocline
from thermocline.faults import POINTS
from thermocline.model.datasets import FEATURES, MARKET_DATA
from thermocline.model.partition import Partition

Seen = Mapping[Key, int]


def points(text: str) -> frozenset[str]:
    """Points from words; a step's own name stands for its first and its last."""
    return frozenset(
        point for word in text.split() for point in ([word] if ":" in word else [f"{word}:before", f"{word}:after"])
    )


@dataclass(frozen=True)
class Task:
    """What is killed: an act, what it must reach, which rows it puts and takes away, and when it was done."""

    act: str
    must_reach: frozenset[str]
    order: Mapping[str, Any]
    puts: Seen = field(default_factory=dict)
    takes: Callable[[Key], bool] = lambda _: False
    is_done: Callable[[World], bool] = lambda _: True
    state: str = "days_in_every_state"
    is_whole: bool = True
    """Whether one commit does it all, so that nobody ever sees a part of it."""
    dies_at: frozenset[str] | None = None
    """Only at these is it killed, where another task is killed in the same way at the others."""

    @property
    def deaths(self) -> frozenset[str]:
        """The points at which it is killed."""
        return self.must_reach if self.dies_at is None else self.dies_at

    @property
    def full_order(self) -> Mapping[str, Any]:
        """The order, with the rows that are put."""
        return {**self.order, **({"rows": as_json(self.puts)} if self.puts else {})}

    def after(self, before: Seen) -> dict[Key, int]:
        """What everybody sees when the act was done."""
        return {key: value for key, value in {**before, **self.puts}.items() if not self.takes(key)}


def is_hot(world: World, number: int, interval: str = "1min") -> bool:
    """Whether a day of bars is hot."""
    found = {found.partition for found in world.tc.hot.hot_days(MARKET_DATA)}
    return Partition("market_data", interval, day(number)) in found


def kept_aside(world: World) -> set[date]:
    """The days whose detached rows are there."""
    return {found.partition.day for found in world.tc.hot.detached(MARKET_DATA)}


def held(world: World) -> list[date]:
    """The days of which a restatement waits for a person, each as often as one does."""
    return [vintage.partition.day for vintage in world.tc.vintages("market_data", states=["held"])]


def nothing_is_due(world: World) -> bool:
    """Whether a rotation has moved all there was, has let go of what it may, and has left the rest alone."""
    due = world.tc.plan_rotation(DATASETS, as_of=AS_OF)
    return not due and day(RELEASABLE) not in kept_aside(world) and is_hot(world, 35)


def all_have_moved(world: World) -> bool:
    """Whether every object of a dataset is in the colder class, and no plan would move one."""
    with thermocline.open(home=world.home) as opened:
        tiering = tiering_of(in_a_bucket(opened), LONG_AFTER)
        classes = {each.storage_class for each in tiering.survey([MARKET_DATA]).objects}
        return classes == {COLDER[tiering.provider]} and tiering.plan([MARKET_DATA]).is_empty


def every_bar_has_features(world: World) -> bool:
    """Whether each daily bar has one row of features, and its day is noted."""
    bars = world.tc.query("market_data", interval="1day").to_arrow().select(["asset_class", "symbol", "ts"])
    made = world.tc.query("features").to_arrow().select(bars.column_names)
    noted = {partition.day for partition in world.tc.hot.derivations(FEATURES)}
    days = {row["ts"].date() for row in bars.to_pylist()}
    return sorted(map(str, bars.to_pylist())) == sorted(map(str, made.to_pylist())) != [] and noted == days


RESTATED = rows("market_data", "1min", [2, 4, 8, 20, 32, 37], value=5_000)
COMING_IN = rows("market_data", "1min", [0, 2, 4, 10, 35, 38], "AAPL NEWER", value=7_000)

_WRITES = "archive upload read-back verify put put:written put:named"
_COMMITS = "journal commit commit:committed replace replace:written put put:written put:named"
_PUBLISHES = "publish publish:committing"
_FILLS = "fill fill:copied"

TASKS: Mapping[str, Task] = {
    "backfill": Task(
        "backfill",
        points(f"gather quarantine {_WRITES} {_COMMITS} {_PUBLISHES} {_FILLS}"),
        {"dataset": "market_data", "unreadable": [["{}", "no row at all"]], "as_of": AS_OF},
        puts=RESTATED,
    ),
    "fetch": Task(
        "fetch",
        points(f"open-fetch keep-page finish-fetch gather {_WRITES} {_COMMITS} {_PUBLISHES} {_FILLS}"),
        {"dataset": "market_data", "as_of": AS_OF},
        puts=RESTATED,
        is_done=lambda world: world.tc.lake.page_store.unfinished() == [],
        dies_at=points("open-fetch keep-page finish-fetch"),
    ),
    "load": Task(
        "load",
        points(f"load load:committing {_FILLS}"),
        {"datasets": DATASETS, "as_of": AS_OF},
        is_done=lambda world: is_hot(world, 31) and is_hot(world, 33, "1day"),
    ),
    "rotate": Task(
        "rotate",
        points(
            f"{_WRITES} {_COMMITS} {_PUBLISHES} note-head cut-over cut-over:proved cut-over:published detach "
            "cut-over:committing release release:committing"
        ),
        {"datasets": DATASETS, "as_of": AS_OF},
        is_done=nothing_is_due,
    ),
    "undo": Task(
        "undo",
        points("undo undo:attached undo:committing"),
        {"dataset": "market_data", "start": str(day(UNDOABLE)), "end": str(day(UNDOABLE + 1))},
        is_done=lambda world: is_hot(world, UNDOABLE) and day(UNDOABLE) not in kept_aside(world),
    ),
    "rehydrate": Task(
        "rehydrate",
        points(f"load load:committing {_FILLS}"),
        {"dataset": "market_data", "start": str(day(4)), "end": str(day(6))},
        is_done=lambda world: is_hot(world, 4) and is_hot(world, 5),
    ),
    "ingest": Task(
        "ingest",
        points(f"ingest ingest:committing quarantine {_FILLS}"),
        {"dataset": "market_data", "with_a_bad_row": True, "as_of": AS_OF},
        puts=COMING_IN,
    ),
    "release rows": Task(
        "release",
        points(f"ingest ingest:committing {_FILLS}"),
        {"dataset": "market_data", "as_of": AS_OF},
        puts=COMING_IN,
        is_done=lambda world: not world.tc.quarantine_show(["market_data"], rules=["volume"], states=["kept"]),
        dies_at=points("ingest ingest:committing"),
    ),
    "delete": Task(
        "delete",
        points(f"{_WRITES} {_COMMITS} {_PUBLISHES} delete delete:committing"),
        {"dataset": "market_data", "symbols": ["AAPL"]},
        takes=lambda key: key.dataset == "market_data" and key.symbol == "AAPL",
        is_whole=False,
    ),
    "cleanup": Task(
        "cleanup",
        points(
            f"gather quarantine {_WRITES} {_COMMITS} {_PUBLISHES} note-head swap swap:renamed swap:committed "
            f"load load:committing {_FILLS}"
        ),
        {"dataset": "market_data", "as_of": AS_OF},
        state="a_plain_table",
    ),
    "hold": Task(
        "backfill",
        points(f"gather {_WRITES} journal hold hold:committing"),
        {"dataset": "market_data", "rows": as_json(CORRECTED), "as_of": AS_OF},
        is_done=lambda world: held(world) == [day(2), day(20), day(32)],
        state="many_symbols",
    ),
    "accept": Task(
        "accept",
        points(f"read-back verify {_COMMITS} {_PUBLISHES} {_FILLS} accept"),
        {"dataset": "market_data"},
        puts=CORRECTED,
        is_done=lambda world: not held(world),
        state="a_restatement_that_waits",
    ),
    "reject": Task(
        "reject",
        points("journal put put:written put:named reject reject:committing"),
        {"dataset": "market_data"},
        is_done=lambda world: not held(world),
        state="a_restatement_that_waits",
    ),
    "compact": Task(
        "compact",
        points(f"combine upload read-back verify {_COMMITS} {_PUBLISHES}"),
        {"datasets": ["market_data"], "as_of": LONG_AFTER},
        is_done=lambda world: world.tc.plan_compaction(["market_data"], as_of=LONG_AFTER).periods == [],
        state="a_closed_month",
    ),
    "restate in a month": Task(
        "backfill",
        points(f"gather {_WRITES} combine {_COMMITS} {_PUBLISHES}"),
        {"dataset": "market_data", "as_of": LONG_AFTER},
        puts=rows("market_data", "1min", [10], "AAPL", value=90),
        state="a_compacted_month",
    ),
    "expire": Task(
        "expire",
        points("journal put put:written put:named replace replace:written expire expire:committing delete-object"),
        {"datasets": ["market_data"], "as_of": "2040-01-01"},
        state="a_compacted_month",
    ),
    "transition": Task(
        "transition",
        points("transition"),
        {"as_of": LONG_AFTER},
        is_done=all_have_moved,
        state="a_closed_month",
    ),
    "delete what is over": Task(
        "tiers",
        points(f"{_COMMITS} {_PUBLISHES} expire expire:committing"),
        {"datasets": ["market_data"], "as_of": "2026-01-01", "retention": {"DELETE_AFTER_DAYS": "365"}},
        takes=lambda key: key.dataset == "market_data",
        state="a_compacted_month",
    ),
    "drill": Task(
        "drill",
        points("rehearse rehearse:loaded"),
        {"datasets": ["market_data"], "seed": 1},
        state="a_closed_month",
    ),
    "evolve": Task(
        "evolve",
        points(
            "evolve-table evolve-table:committed note-schema replace replace:written "
            "evolve evolve:altered evolve:committing"
        ),
        {"dataset": "market_data", "columns": {"spread": "price"}},
        is_done=lambda world: world.tc.schemas(["market_data"])[0].version == 2,
    ),
    "derive": Task(
        "derive",
        points(f"gather {_WRITES} {_COMMITS} {_PUBLISHES} note-head note-derivations note-derivations:committing"),
        {"as_of": AS_OF},
        is_done=every_bar_has_features,
        dies_at=points("publish publish:committing note-derivations note-derivations:committing"),
    ),
    "recover": Task(
        "recover",
        points("register replace replace:written restore restore:committing"),
        {"datasets": ["market_data"]},
        puts=IN_THE_MONTH,
        state="a_lost_database",
    ),
}


@dataclass
class Stage:
    """The world, and what each state in it shows; states are made once, and so is the run that nobody kills."""

    world: World
    shown: dict[str, Seen] = field(default_factory=dict)
    reached: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def begin(self, state: str) -> Seen:
        """Bring the world to a state; return the rows that everybody sees in it."""
        if state in self.shown:
            self.world.begin(state)
        else:
            self.world.begin()
            self.shown[state] = STATES[state](self.world)
            self.world.keep(state)
        return self.shown[state]

    def undisturbed(self, name: str) -> Mapping[str, int]:
        """How often a task reaches each point when nobody kills it."""
        if name not in self.reached:
            self.begin(TASKS[name].state)
            self.reached[name] = self.world.run(TASKS[name].act, TASKS[name].full_order).done().reached
        return self.reached[name]

    def check_done(self, task: Task, before: Seen) -> None:
        """Everybody sees what they should, nothing is left to do, and the lake, the table and the ledger agree."""
        assert self.world.differences(task.after(before)) == []
        assert task.is_done(self.world)
        assert self.world.out_of_step() == []


@pytest.fixture(scope="session")
def stage(killing_world) -> Stage:
    return Stage(killing_world)


@pytest.fixture(scope="session")
def stages(embedded_url) -> Iterator[Callable[[str], Stage]]:
    """Stages over lakes in buckets, by the place; each is made when it is first asked for."""
    with ExitStack() as made:
        places = {"s3": in_s3, "gcs": in_gcs}
        yield cache(lambda place: Stage(made.enter_context(world(embedded_url, made.enter_context(places[place]())))))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_reaches_the_points_that_it_should_and_does_what_it_should(name, stage):
    task = TASKS[name]
    assert set(stage.undisturbed(name)) == task.must_reach
    before = stage.begin(task.state)
    assert stage.world.differences(before) == []
    stage.world.run(task.act, task.full_order).done()
    stage.check_done(task, before)


def test_every_point_that_there_is_is_reached_by_some_task():
    assert set().union(*(task.must_reach for task in TASKS.values())) == set(POINTS)


SHARE = float(os.environ.get("KILLS_SHARE", "1"))
SEED = os.environ.get("KILLS_SEED", "")


def cases() -> list[tuple[str, str]]:
    """Each task with each point it reaches; of a share, each point and each task at least once, the rest by chance."""
    every = [(name, point) for name, task in TASKS.items() for point in POINTS if point in task.deaths]
    shuffled = sorted(every, key=lambda case: sha256(f"{SEED} {case}".encode()).digest())
    chosen = set(shuffled[: round(SHARE * len(every))])
    for of_each in (0, 1):
        chosen.update({case[of_each]: case for case in shuffled}.values())
    return [case for case in every if case in chosen]


CASES = cases()


@pytest.mark.parametrize(("name", "point"), CASES, ids=[f"{name}-{point}" for name, point in CASES])
def test_a_task_that_is_killed_loses_nothing_doubles_nothing_and_is_made_good(name, point, stage, record_property):
    kill(stage, name, point)
    record_property("kill", (name, point))


def kill(stage: Stage, name: str, point: str) -> None:
    """Kill a task at a point, look, let it run again, and look."""
    task, world = TASKS[name], stage.world
    # The first time and, where rows leave PostgreSQL, also the last, with nearly everything done; the soak dies at any.
    last = stage.undisturbed(name)[point] if point.startswith(("cut-over", "detach", "release")) else 1
    for occurrence in sorted({1, last}):
        before = stage.begin(task.state)
        ended = world.run(task.act, task.full_order, Kill(point, occurrence))
        assert ended.was_killed, ended
        assert ended.killed_at == point
        if task.is_whole:
            assert world.differences(before, task.after(before)) == []
        else:
            assert world.differences_between(before, task.after(before)) == []
        world.run(task.act, task.full_order).done()
        stage.check_done(task, before)


IN_BUCKETS = ("rotate", "backfill", "compact", "expire", "transition", "delete what is over")
"""What writes, moves and deletes objects; the other tasks do nothing else to a lake."""


def cases_in_buckets() -> list[tuple[str, str, str]]:
    """Each of those tasks with each point, on each kind of bucket; of a share, a rotation on each at least."""
    tasks = {name: sorted(TASKS[name].deaths) for name in IN_BUCKETS}
    every = [(place, name, point) for place in ("s3", "gcs") for name, points in tasks.items() for point in points]
    shuffled = sorted(every, key=lambda case: sha256(f"{SEED} {case}".encode()).digest())
    chosen = set(shuffled[: round(SHARE / 2 * len(every))]) if SHARE < 1 else set(every)
    chosen.update({case[0]: case for case in shuffled if case[1] == "rotate"}.values())
    return [case for case in every if case in chosen]


@pytest.mark.parametrize(
    ("place", "name", "point"),
    [
        pytest.param(*case, id="-".join(case), marks=pytest.mark.xdist_group(f"killed-in-{case[0]}"))
        for case in cases_in_buckets()
    ],
)
def test_a_task_that_is_killed_with_its_lake_in_a_bucket_is_made_good(place, name, point, stages, record_property):
    assert set(stages(place).undisturbed(name)) == TASKS[name].must_reach
    kill(stages(place), name, point)
    record_property("kill", (f"{name} in {place}", point))
