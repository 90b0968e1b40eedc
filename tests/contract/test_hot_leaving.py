"""What every hot tier promises of days that leave it: cut over, brought back, released."""

from datetime import timedelta

import pytest
from hot_acts import about_to_cut_over, answer, assert_answers, day, hot_set, ingest, load, publish, rotate, table
from made_rows import DAY, LATER, bars

from thermocline.errors import StaleStateError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import HotDay, Publication
from thermocline.tasks.archive import archive

# ------------------------------------------------------------------------------------------------------------- rotation


def test_a_day_that_was_cut_over_is_cold_and_not_hot_and_its_rows_are_kept(hot, lake):
    ingest(hot, bars(day()), bars(day(1)), hot_days=[day(), day(1)])
    rotate(hot, lake, day())
    assert hot_set(hot) == {day(1)}
    assert [leaf.partition for leaf in hot.leaves(MARKET_DATA)] == [day(1)]
    assert [v.partition for v in hot.live(MARKET_DATA, ALL_DAYS)] == [day()]
    [detached] = hot.detached(MARKET_DATA)
    assert (detached.partition, detached.version, detached.rows) == (day(), 1, 6)
    assert hot.last("rotate", MARKET_DATA).partition == day()
    assert_answers(hot, lake, bars(day()), bars(day(1)))


def test_an_export_yields_the_same_sorted_rows_each_time(hot):
    batch = bars(day(), ["MSFT", "AAPL", "BRK.B", "aapl"])
    ingest(hot, batch, hot_days=[day()])
    with hot.writer(MARKET_DATA) as writer, writer.export(day()) as export:
        assert export.rows == 12
        for _ in range(2):
            assert table(*export.batches()).equals(table(batch))


@pytest.mark.parametrize(
    "change",
    [
        bars(day(), ["IBM"], ingested_at=LATER),
        bars(day(), ["AAPL"], close="300", ingested_at=LATER),
    ],
    ids=["a row came", "a row changed"],
)
def test_cut_over_refuses_a_day_that_changed_since_the_export(hot, lake, change):
    ingest(hot, bars(day()), hot_days=[day()])
    with about_to_cut_over(hot, lake, day()) as cut_over:
        ingest(hot, change)
        with pytest.raises(StaleStateError, match="kept hot"):
            cut_over()
    assert hot_set(hot) == {day()}
    assert hot.live(MARKET_DATA, ALL_DAYS) == []
    assert hot.detached(MARKET_DATA) == []
    rotate(hot, lake, day())
    assert len(answer(hot, lake)) == (9 if change["symbol"][0].as_py() == "IBM" else 6)


def test_days_are_exported_beside_a_writer_that_cuts_others_over(hot, lake):
    ingest(hot, bars(day()), bars(day(1)), bars(day(2)), hot_days=[day(), day(1), day(2)])
    with hot.writer(MARKET_DATA) as writer, writer.beside() as first, writer.beside() as second:
        with first.export(day(1)) as export:
            receipts = {day(1): archive(lake, day(1), 1, export.batches(), run_id="run")}
        exports = {day(1): export}
        with first.export(day()) as one, second.export(day(2)) as other:
            rows = zip(one.batches(), other.batches(), strict=True)
            exports |= {day(): one, day(2): other}
            writer.cut_over(exports[day(1)], Publication(MARKET_DATA, None, "run", [receipts[day(1)]]))
            read = list(rows)
        for number, partition in enumerate((day(), day(2))):
            receipts[partition] = archive(lake, partition, 1, [pair[number] for pair in read], run_id="run")
        ingest(hot, bars(day(2), ["IBM"], ingested_at=LATER))
        writer.cut_over(exports[day()], Publication(MARKET_DATA, None, "run", [receipts[day()]]))
        with pytest.raises(StaleStateError, match="kept hot"):
            writer.cut_over(exports[day(2)], Publication(MARKET_DATA, None, "run", [receipts[day(2)]]))
    assert hot_set(hot) == {day(2)}
    assert_answers(hot, lake, *(bars(day(n)) for n in range(3)), bars(day(2), ["IBM"], ingested_at=LATER))


def test_cut_over_refuses_when_rows_were_deleted_since_the_export(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    with hot.writer(MARKET_DATA) as writer:
        with writer.export(day()) as export:
            receipt = archive(lake, day(), 1, export.batches(), run_id="run")
        assert writer.delete(DayRange(day().day, day(1).day), (), ["AAPL"], run_id="run") == 3
        with pytest.raises(StaleStateError):
            writer.cut_over(export, Publication(MARKET_DATA, None, "run", [receipt]))
    assert_answers(hot, lake, bars(day(), ["MSFT"]))


def test_cut_over_folds_the_late_rows_of_a_cold_day(hot, lake):
    publish(hot, lake, bars(day(), ["MSFT"]))
    late = bars(day(), ["AAPL"], ingested_at=LATER)
    ingest(hot, late)
    with hot.writer(MARKET_DATA) as writer:
        with writer.export(day()) as export:
            assert export.rows == 3
            both = [*export.batches(), bars(day(), ["MSFT"])]
        receipt = archive(lake, day(), 2, both, run_id="run")
        writer.cut_over(export, Publication(MARKET_DATA, None, "run", [receipt]))
    assert hot.late(MARKET_DATA) == {}
    assert hot.detached(MARKET_DATA) == []
    assert_answers(hot, lake, late, bars(day(), ["MSFT"]))


def test_a_late_row_that_comes_between_export_and_cut_over_stays(hot, lake):
    ingest(hot, bars(day(), ["MSFT"]))
    with about_to_cut_over(hot, lake, day()) as cut_over:
        ingest(hot, bars(day(), ["AAPL"], ingested_at=LATER))
        cut_over()
    assert hot.late(MARKET_DATA) == {day(): 3}
    assert_answers(hot, lake, bars(day(), ["AAPL"], ingested_at=LATER), bars(day(), ["MSFT"]))


def test_cut_over_refuses_when_late_rows_were_deleted_since_the_export(hot, lake):
    ingest(hot, bars(day()))
    with hot.writer(MARKET_DATA) as writer:
        with writer.export(day()) as export:
            receipt = archive(lake, day(), 1, export.batches(), run_id="run")
        writer.delete(DayRange(day().day, day(1).day), (), ["AAPL"], run_id="run")
        with pytest.raises(StaleStateError):
            writer.cut_over(export, Publication(MARKET_DATA, None, "run", [receipt]))
    assert_answers(hot, lake, bars(day(), ["MSFT"]))


def test_a_day_without_a_vintage_never_leaves_with_rows(hot):
    ingest(hot, bars(day()), hot_days=[day()])
    with hot.writer(MARKET_DATA) as writer:
        with writer.export(day()) as export:
            pass
        with pytest.raises(StaleStateError):
            writer.cut_over(export, Publication(MARKET_DATA, None, "run"))
    assert hot_set(hot) == {day()}


def test_a_day_can_leave_come_back_and_leave_again_while_it_is_kept(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    for _ in range(2):
        [vintage] = hot.live(MARKET_DATA, ALL_DAYS)
        load(hot, lake, vintage)
        with hot.writer(MARKET_DATA) as writer:
            with writer.export(day()) as export:
                pass
            writer.cut_over(export, Publication(MARKET_DATA, None, "run"))
    assert [d.partition for d in hot.detached(MARKET_DATA)] == [day()] * 3
    assert len({d.table for d in hot.detached(MARKET_DATA)}) == 3
    assert_answers(hot, lake, bars(day()))


# ---------------------------------------------------------------------------------------------------- undo and release


def test_undo_brings_a_day_back_exactly(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    [detached] = hot.detached(MARKET_DATA)
    with hot.writer(MARKET_DATA) as writer:
        assert writer.undo(detached, run_id="run") == 6
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1)]
    assert hot.detached(MARKET_DATA) == []
    assert_answers(hot, lake, bars(day()))
    ingest(hot, bars(day(), ["IBM"], ingested_at=LATER))
    assert_answers(hot, lake, bars(day()), bars(day(), ["IBM"], ingested_at=LATER))
    rotate(hot, lake, day())
    assert_answers(hot, lake, bars(day()), bars(day(), ["IBM"], ingested_at=LATER))


def test_undo_can_bring_a_day_back_for_a_time(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    [detached] = hot.detached(MARKET_DATA)
    until = DAY + timedelta(days=3)
    with hot.writer(MARKET_DATA) as writer:
        writer.undo(detached, run_id="run", until=until)
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1, until)]


def test_undo_refuses_after_a_restatement(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    publish(hot, lake, bars(day(), close="200"))
    refuses_to_undo(hot)
    assert_answers(hot, lake, bars(day(), close="200"))


def test_undo_refuses_while_late_rows_wait(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    late = bars(day(), ["IBM"], ingested_at=LATER)
    ingest(hot, late)
    refuses_to_undo(hot)
    assert_answers(hot, lake, bars(day()), late)


def test_undo_refuses_when_the_day_is_hot_again(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    load(hot, lake, hot.live(MARKET_DATA, ALL_DAYS)[0])
    refuses_to_undo(hot)
    assert_answers(hot, lake, bars(day()))


def test_undo_refuses_after_the_day_was_withdrawn(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    publish(hot, lake, withdrawn=[day()])
    refuses_to_undo(hot)
    assert_answers(hot, lake)


def test_undo_refuses_what_held_less_than_its_vintage(hot, lake):
    publish(hot, lake, bars(day()), hot_rows={day(): [bars(day(), ["AAPL"])]})
    with hot.writer(MARKET_DATA) as writer:
        with writer.export(day()) as export:
            pass
        writer.cut_over(export, Publication(MARKET_DATA, None, "run"))
    refuses_to_undo(hot)
    assert_answers(hot, lake, bars(day()))


def refuses_to_undo(hot):
    [detached] = hot.detached(MARKET_DATA)
    with hot.writer(MARKET_DATA) as writer, pytest.raises(StaleStateError, match="rehydrate"):
        writer.undo(detached, run_id="run")
    assert hot.detached(MARKET_DATA) == [detached]


def test_release_drops_a_day_for_good_and_leaves_others(hot, lake):
    ingest(hot, bars(day()), bars(day(1)), hot_days=[day(), day(1)])
    rotate(hot, lake, day())
    rotate(hot, lake, day(1))
    first, second = hot.detached(MARKET_DATA)
    with hot.writer(MARKET_DATA) as writer:
        for _ in range(2):
            writer.release(first, run_id="run")
            assert hot.detached(MARKET_DATA) == [second]
        with pytest.raises(StaleStateError):
            writer.undo(first, run_id="run")
    assert_answers(hot, lake, bars(day()), bars(day(1)))


def test_release_leaves_a_day_alone_that_came_back_meanwhile(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    rotate(hot, lake, day())
    [detached] = hot.detached(MARKET_DATA)
    with hot.writer(MARKET_DATA) as writer:
        writer.undo(detached, run_id="run")
        writer.release(detached, run_id="run")
    assert_answers(hot, lake, bars(day()))
    assert hot_set(hot) == {day()}
