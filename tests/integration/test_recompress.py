"""Objects of a local lake that are written anew with stronger compression: the same rows, versions and answers."""

import pytest
from lake_world import LATER, content, day, objects_of, world_in
from made_rows import bars

from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.model.storage_classes import COMPRESSED, WARM
from thermocline.tasks.recompress import Recompression


@pytest.fixture
def world(new_database, tmp_path):
    """A month in one object, and two days of the next in their own."""
    world = world_in(tmp_path, new_database("embedded"))
    world.backfill(*(bars(day(number), ("AAPL", "IBM"), 200) for number in (2, 3)))
    world.compact()
    world.backfill(*(bars(day(number, 2), ("AAPL", "IBM"), 200) for number in (2, 3)))
    yield world
    world.lake.close()


def recompress(world, paths=None):
    paths = sorted(set(world.live.values())) if paths is None else paths
    return Recompression(world.hot, world.lake, COMPRESSED).run(MARKET_DATA, paths, run_id="recompress")


def classes_of_live(world) -> set[str]:
    live = set(world.live.values())
    return {stored.storage_class for stored in world.lake.survey(MARKET_DATA) if stored.path in live}


def test_what_is_written_anew_is_in_the_other_class_and_answers_stay_the_same(world):
    before = {v.partition: v.receipt for v in world.hot.live(MARKET_DATA, ALL_DAYS)}
    assert classes_of_live(world) == {WARM}
    done = recompress(world)
    assert (len(done.rewritten), done.left) == (3, {})
    assert classes_of_live(world) == {COMPRESSED}
    assert {each.new_path for each in done.rewritten} == set(world.live.values())
    for vintage in world.hot.live(MARKET_DATA, ALL_DAYS):
        old = before[vintage.partition]
        assert (vintage.receipt.version, vintage.receipt.contents) == (old.version, old.contents)
    world.check()


def test_what_no_live_version_names_and_what_is_damaged_is_left_and_named(world):
    damaged = world.live[day(2, 2)]
    body = (world.folder / damaged).read_bytes()
    (world.folder / damaged).chmod(0o644)
    (world.folder / damaged).write_bytes(body[:300] + bytes(8) + body[308:])
    own = next(path for path in world.lake.objects_of(MARKET_DATA) if path not in world.live.values())
    done = recompress(world, [own, damaged, world.live[day(3, 2)]])
    assert done.left.keys() == {own, damaged}
    assert [each.path.endswith("day=03/market_data_1min_20240203.parquet") for each in done.rewritten] == [True]
    (world.folder / damaged).write_bytes(body)
    world.check()


@pytest.mark.parametrize("point", ["put:named", "upload:after", "verify:after", "commit:committed", "publish:after"])
def test_wherever_it_dies_every_row_is_there_once_and_the_next_run_completes_it(world, point):
    class KilledError(BaseException):
        pass

    def die(reached: str) -> None:
        if reached == point:
            raise KilledError

    with pytest.raises(KilledError), listening(die):
        recompress(world)
    assert content(world.answer()) == content(world.expected())
    still = {s.path for s in world.lake.survey(MARKET_DATA) if s.storage_class == WARM} & set(world.live.values())
    recompress(world, sorted(still))
    assert classes_of_live(world) == {COMPRESSED}
    world.check()


def test_a_day_of_a_compressed_month_is_restated_like_any_other(world):
    recompress(world)
    world.backfill(bars(day(3), ("AAPL",), 2, close="7", ingested_at=LATER))
    world.check()
    assert [str(period) for period in world.compact().periods] == ["2024-01", "2024-02"]
    assert len(objects_of(world)) == 1
    world.check()
