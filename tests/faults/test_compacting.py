"""Deaths of a compaction, and of acts on days of a compacted month: every row once, and the next run completes it."""

from datetime import date

import pytest
from lake_world import content, day, objects_of, two_months, world_in
from made_rows import LATER, bars

from thermocline.faults import listening
from thermocline.model.partition import ALL_DAYS, DayRange


class KilledError(BaseException):
    """The process is gone."""


@pytest.fixture
def world(new_database, tmp_path):
    world = world_in(tmp_path, new_database("embedded"))
    yield world
    world.lake.close()


POINTS = (
    "combine:before",
    "put:written",
    "put:named",
    "upload:after",
    "combine:after",
    "read-back:after",
    "verify:after",
    "journal:after",
    "commit:before",
    "commit:committed",
    "publish:committing",
    "publish:after",
)


def dies_at(point: str, act) -> None:
    """Do the act, and die the first time that it reaches the point after it began to bring days together."""
    began: list[str] = []

    def listener(reached: str) -> None:
        if reached == "combine:before":
            began.append(reached)
        if began and reached == point:
            raise KilledError

    with pytest.raises(KilledError), listening(listener):
        act()


def test_wherever_a_compaction_dies_every_row_is_there_once_and_the_next_run_completes_it(world):
    # One month after the other: each death has a month of its own.
    for number, point in enumerate(POINTS):
        month = number % 4 + 1
        world.backfill(bars(day(2 + number, month), ("AAPL",), 1), bars(day(3 + number, month), ("AAPL",), 1))
        dies_at(point, world.compact)
        assert content(world.answer()) == content(world.expected()), point
        world.compact()
        assert content(world.answer()) == content(world.expected()), point
        assert len(objects_of(world, month)) == 1, point
        world.check()


@pytest.mark.parametrize("point", ["combine:after", "commit:committed"])
def test_wherever_the_compaction_of_a_year_dies_the_next_run_completes_it(point, world):
    world.backfill(*(bars(day(number, month), ("AAPL",), 1) for month in (1, 7) for number in (2, 3)))
    dies_at(point, lambda: world.compact(as_of=date(2025, 3, 1)))
    assert content(world.answer()) == content(world.expected())
    assert [str(year) for year in world.compact(as_of=date(2025, 3, 1)).periods] == ["2024"]
    assert len(set(world.live.values())) == 1
    world.check()


@pytest.mark.parametrize("act", ["backfill", "rotate", "delete", "withdraw"])
@pytest.mark.parametrize("point", ["combine:before", "combine:after", "commit:committed", "publish:after"])
def test_wherever_an_act_on_a_day_of_a_compacted_month_dies_the_next_run_completes_it(act, point, world):
    two_months(world)
    late = bars(day(3), ("MSFT",), 1, ingested_at=LATER)
    run = {
        "backfill": lambda: world.backfill(late),
        "rotate": world.rotate,
        "delete": lambda: world.delete(days=ALL_DAYS, symbols=["MSFT"]),
        "withdraw": lambda: world.delete(days=DayRange(day(3).day, day(4).day)),
    }[act]
    if act == "rotate":
        world.ingest(late)
    if act == "delete":
        world.backfill(late)
        world.compact()
    assert len(objects_of(world)) == 1
    before = content(world.expected())
    dies_at(point, run)
    assert content(world.answer()) == before
    run()
    if act in {"backfill", "rotate"}:
        world.expect(late)
    if act == "delete":
        world.forget(lambda row: row["symbol"] == "MSFT")
    if act == "withdraw":
        world.forget(lambda row: row["ts"].date() == day(3).day)
    world.check()
    world.compact()
    world.check()
    assert len(objects_of(world)) == 1
