"""What every hot tier promises, whether it is memory or a PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from hot_acts import (
    about_to_cut_over,
    answer,
    assert_answers,
    day,
    hot_set,
    ingest,
    load,
    publish,
    receipt_of,
    rotate,
    table,
)
from made_rows import DAY, LATER, NOON, as_sorted_lists, bars, rows

from thermocline.errors import FingerprintMismatchError, LockTimeoutError
from thermocline.model.datasets import DATASETS, MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.derivation import Derivation
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.query import Query
from thermocline.model.rejected import Rejected
from thermocline.model.report import Failed
from thermocline.ports import Act, AuditQuery, HotDay, Ingested, Publication, QuarantineQuery
from thermocline.stores.open import open_lake
from thermocline.tasks.archive import archive
from thermocline.tasks.query import query

# ------------------------------------------------------------------------------------------------------------- vintages


def test_a_published_vintage_is_live_and_supersedes_the_older_one_in_one_step(hot, lake):
    first, other = publish(hot, lake, bars(day()), bars(day(1)))
    [second] = publish(hot, lake, bars(day(), close="200"))
    assert [v.receipt.version for v in hot.live(MARKET_DATA, ALL_DAYS)] == [2, 1]
    assert hot.live(MARKET_DATA, ALL_DAYS) == [second, other]
    assert first.receipt.path != second.receipt.path
    assert second.published_at >= first.published_at
    assert_answers(hot, lake, bars(day(), close="200"), bars(day(1)))


def test_live_vintages_are_those_of_the_days_and_intervals_asked_for(hot, lake):
    publish(hot, lake, bars(day()), bars(day(1)), bars(day(1, "1hour")))
    tomorrow = DayRange(day(1).day, day(2).day)
    assert [v.partition for v in hot.live(MARKET_DATA, tomorrow)] == [day(1, "1hour"), day(1)]
    assert [v.partition for v in hot.live(MARKET_DATA, tomorrow, ["1min"])] == [day(1)]
    assert hot.live(NEWS, ALL_DAYS) == []


def test_a_receipt_comes_back_from_the_ledger_as_it_was(hot, lake):
    with hot.writer(MARKET_DATA) as writer:
        receipt = receipt_of(writer, lake, rows(MARKET_DATA))
        writer.publish(Publication(MARKET_DATA, None, "run", [receipt]))
        assert writer.live(ALL_DAYS)[0].receipt == receipt


def test_a_withdrawn_day_has_no_live_vintage_and_its_versions_are_not_used_again(hot, lake):
    publish(hot, lake, bars(day()))
    publish(hot, lake, withdrawn=[day()])
    assert hot.live(MARKET_DATA, ALL_DAYS) == []
    assert_answers(hot, lake)
    with hot.writer(MARKET_DATA) as writer:
        assert writer.next_versions([day()])[day()] == 2


def test_the_head_is_that_of_the_last_publication_that_named_one(hot):
    with hot.writer(MARKET_DATA) as writer:
        assert writer.head() is None
        writer.publish(Publication(MARKET_DATA, "17", "run"))
        writer.publish(Publication(MARKET_DATA, None, "run"))
        assert writer.head() == "17"
    with hot.writer(NEWS) as writer:
        assert writer.head() is None


def test_a_publication_that_fails_changes_nothing(hot, lake):
    [old] = publish(hot, lake, bars(day()))

    def broken():
        yield bars(day(1))
        raise ConnectionError

    with hot.writer(MARKET_DATA) as writer:
        publication = Publication(MARKET_DATA, "9", "run", [receipt_of(writer, lake, bars(day(), close="200"))])
        with pytest.raises(ConnectionError):
            writer.publish(publication, {day(1): broken()})
    assert hot.live(MARKET_DATA, ALL_DAYS) == [old]
    assert hot_set(hot) == set()
    with hot.writer(MARKET_DATA) as writer:
        assert writer.head() is None
    assert_answers(hot, lake, bars(day()))


def test_rows_that_are_published_for_a_day_start_it_or_are_merged_into_it(hot, lake):
    publish(hot, lake, bars(day()), hot_rows={day(): [bars(day())]})
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1)]
    publish(hot, lake, bars(day(), close="200"), hot_rows={day(): [bars(day(), close="200")]})
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 2)]
    assert_answers(hot, lake, bars(day(), close="200"))


def test_rows_for_a_day_if_it_is_hot_are_merged_only_then(hot, lake):
    ingest(hot, bars(day(), ["AAPL"]), hot_days=[day()])
    both = {p: [bars(p)] for p in (day(), day(1))}
    publish(hot, lake, bars(day()), bars(day(1)), rows_if_hot=both)
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1)]
    assert_answers(hot, lake, bars(day()), bars(day(1)))


# ----------------------------------------------------------------------------------------------------------------- load


def test_load_makes_a_fresh_day_and_is_idempotent(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    for _ in range(2):
        assert load(hot, lake, vintage) == 6
        assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1)]
        assert_answers(hot, lake, bars(day()))
    assert [(leaf.partition, leaf.rows, leaf.registered) for leaf in hot.leaves(MARKET_DATA)] == [(day(), 6, True)]
    assert [(leaf.partition, leaf.registered) for leaf in hot.leaves(MARKET_DATA, counted=False)] == [(day(), True)]


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=str)
def test_every_value_of_every_dataset_comes_back_from_hot_as_it_went_in(hot, lake, dataset):
    batch = rows(dataset, 200)
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    with hot.writer(dataset) as writer:
        receipt = archive(lake, partition, 1, [batch.slice(0, 7), batch.slice(7)], run_id="run")
        writer.publish(Publication(dataset, None, "run", [receipt]))
        assert writer.load(writer.live(ALL_DAYS)[0], lake.read(receipt, encoded=True), run_id="run") == len(batch)
    with query(hot, lake, Query(dataset)) as reader:
        assert as_sorted_lists(reader.read_all(), dataset) == as_sorted_lists(table(batch), dataset)
    with hot.writer(dataset) as writer, writer.export(partition) as export:
        assert archive(lake, partition, 1, export.batches(), run_id="run").contents == receipt.contents


def test_rows_that_are_not_the_receipts_are_not_loaded(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    with pytest.raises(FingerprintMismatchError, match="nothing was loaded"):
        load(hot, lake, vintage, [bars(day(), close="200")])
    assert hot.leaves(MARKET_DATA) == []
    assert_answers(hot, lake, bars(day()))


def test_a_day_that_is_hot_keeps_the_row_that_was_ingested_later(hot, lake):
    ingest(hot, bars(day(), ["AAPL"], close="300", ingested_at=LATER), hot_days=[day()])
    [vintage] = publish(hot, lake, bars(day()))
    assert load(hot, lake, vintage) == 6
    assert_answers(hot, lake, bars(day(), ["AAPL"], close="300", ingested_at=LATER), bars(day(), ["MSFT"]))


def test_load_folds_late_rows_in(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    late = bars(day(), ["IBM"], ingested_at=LATER)
    assert ingest(hot, late) == Ingested(late_rows=3)
    assert load(hot, lake, vintage) == 9
    assert hot.late(MARKET_DATA) == {}
    assert_answers(hot, lake, bars(day()), late)


def test_rows_that_come_in_while_a_day_is_loaded_are_late_ones_and_are_folded_in(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    late = bars(day(), ["IBM"], ingested_at=LATER)

    def rows_of_the_day():
        assert ingest(hot, late) == Ingested(late_rows=3)
        yield bars(day())

    assert load(hot, lake, vintage, rows_of_the_day()) == 9
    assert hot.late(MARKET_DATA) == {}
    assert_answers(hot, lake, bars(day()), late)


def test_days_are_loaded_beside_a_writer_that_loads_others(hot, lake):
    vintages = publish(hot, lake, *(bars(day(number)) for number in range(4)))
    with hot.writer(MARKET_DATA) as writer, writer.beside() as loader, ThreadPoolExecutor() as threads:

        def load_all(with_, some):
            return [with_.load(vintage, lake.read(vintage.receipt), run_id="load") for vintage in some]

        loads = [threads.submit(load_all, writer, vintages[::2]), threads.submit(load_all, loader, vintages[1::2])]
        assert [done.result() for done in loads] == [[6, 6], [6, 6]]
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(number), 1) for number in range(4)]
    assert_answers(hot, lake, *(bars(day(number)) for number in range(4)))


def test_a_day_that_is_loaded_until_a_day_says_so_and_the_later_day_counts(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    first, later = DAY + timedelta(days=7), DAY + timedelta(days=9)
    load(hot, lake, vintage, until=first)
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1, first)]
    for until, expected in ((later, later), (first, later)):
        with hot.writer(MARKET_DATA) as writer:
            writer.keep(day(), until, run_id="run")
        assert [leaf.until for leaf in hot.leaves(MARKET_DATA)] == [expected]
        load(hot, lake, vintage)
        assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1, expected)]
    ingest(hot, bars(day(), ["IBM"], ingested_at=LATER))
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1, expected)]


def test_only_hot_days_are_kept_and_one_that_left_has_no_time_any_more(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    with hot.writer(MARKET_DATA) as writer:
        writer.keep(day(), DAY, run_id="run")
    assert hot.hot_days(MARKET_DATA) == []
    load(hot, lake, vintage, until=DAY + timedelta(days=7))
    rotate(hot, lake, day())
    load(hot, lake, hot.live(MARKET_DATA, ALL_DAYS)[0])
    assert [known.until for known in hot.hot_days(MARKET_DATA)] == [None]


# --------------------------------------------------------------------------------------------------------------- ingest


def test_rows_are_visible_at_once_wherever_their_day_is(hot, lake):
    [hot_vintage, _] = publish(hot, lake, bars(day()), bars(day(1)))
    load(hot, lake, hot_vintage)
    fresh = [bars(day(number), ["IBM"], ingested_at=LATER) for number in range(4)]
    assert ingest(hot, *fresh, hot_days=[day(1), day(2)]) == Ingested(hot_rows=6, late_rows=6)
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 1), HotDay(day(2), 0)]
    assert hot.late(MARKET_DATA) == {day(1): 3, day(3): 3}
    assert_answers(hot, lake, bars(day()), bars(day(1)), *fresh)


def test_a_day_with_late_rows_does_not_become_hot_beside_them(hot, lake):
    ingest(hot, bars(day(), ["AAPL"]))
    assert ingest(hot, bars(day(), ["MSFT"]), hot_days=[day()]) == Ingested(late_rows=3)
    assert hot_set(hot) == set()
    assert_answers(hot, lake, bars(day()))


def test_a_late_row_stands_in_for_a_cold_one_of_its_key(hot, lake):
    publish(hot, lake, bars(day()))
    late = bars(day(), ["AAPL"], close="300", ingested_at=LATER)
    ingest(hot, late)
    assert_answers(hot, lake, late, bars(day(), ["MSFT"]))


def test_a_late_row_gives_way_to_a_restatement_that_came_later(hot, lake):
    publish(hot, lake, bars(day()))
    ingest(hot, bars(day(), ["AAPL"], close="300", ingested_at=LATER))
    restated = bars(day(), close="400", ingested_at=LATER + timedelta(hours=1))
    publish(hot, lake, restated)
    assert_answers(hot, lake, restated)


def test_of_late_rows_with_one_key_the_one_ingested_later_counts_and_then_the_one_that_came_last(hot, lake):
    for close, ingested_at in (("300", LATER), ("400", LATER), ("200", NOON)):
        ingest(hot, bars(day(), ["AAPL"], close=close, ingested_at=ingested_at))
    assert_answers(hot, lake, bars(day(), ["AAPL"], close="400", ingested_at=LATER))


def test_the_same_rows_again_leave_a_hot_day_as_it_is(hot, lake):
    ingest(hot, bars(day()), hot_days=[day()])
    with about_to_cut_over(hot, lake, day()) as cut_over:
        ingest(hot, bars(day(), ingested_at=LATER))
        cut_over()
    assert_answers(hot, lake, bars(day()))


def test_a_late_row_that_moved_to_another_symbol_answers_for_that_one_alone(hot, lake):
    batch = rows(OPTIONS_DATA, 1)
    partition = Partition("options_data", "", DAY)
    moved = batch.to_pylist()[0] | {"underlying": "MOVED", "ingested_at": LATER + timedelta(days=3650)}
    with hot.writer(OPTIONS_DATA) as writer:
        receipt = archive(lake, partition, 1, [batch], run_id="run")
        writer.publish(Publication(OPTIONS_DATA, None, "run", [receipt]))
    hot.ingest(OPTIONS_DATA, pa.Table.from_pylist([moved], OPTIONS_DATA.arrow_schema), hot_days=(), run_id="run")
    for symbol, expected in ((batch["underlying"][0].as_py(), 0), ("MOVED", 1)):
        with query(hot, lake, Query(OPTIONS_DATA, symbols=(symbol,))) as reader:
            assert reader.read_all().num_rows == expected


# ------------------------------------------------------------------------------------------ delete, vacuum, bookkeeping


def test_delete_takes_hot_and_late_rows_of_the_days_intervals_and_symbols_asked_for(hot, lake):
    ingest(hot, bars(day()), bars(day(0, "1hour")), bars(day(2)), hot_days=[day(), day(0, "1hour")])
    with hot.writer(MARKET_DATA) as writer:
        assert writer.delete(DayRange(day().day, day(1).day), ["1min"], ["AAPL"], run_id="run") == 3
        assert writer.delete(DayRange(day(2).day, day(3).day), (), ["MSFT"], run_id="run") == 3
        assert writer.delete(DayRange(day(3).day, day(4).day), (), (), run_id="run") == 0
    assert_answers(hot, lake, bars(day(), ["MSFT"]), bars(day(0, "1hour")), bars(day(2), ["AAPL"]))
    assert hot.last("delete", MARKET_DATA).detail["rows"] == 0


def test_vacuum_reports_each_day_when_it_must_and_nothing_when_nothing_is_to_do(hot):
    ingest(hot, bars(day()), bars(day(1)), hot_days=[day(), day(1)])
    forced = hot.vacuum(MARKET_DATA, force=True)
    assert sorted(v.table for v in forced) == sorted(leaf.table for leaf in hot.leaves(MARKET_DATA))
    assert all(v.bytes_after > 0 for v in forced)
    assert hot.vacuum(MARKET_DATA) == []
    assert hot.vacuum(NEWS) == []


def test_the_newest_act_of_a_name_is_found(hot):
    hot.record(Act("vacuum", None, "run-1", {"dataset": "market_data", "tables": 1}))
    hot.record(Act("vacuum", day(), "run-2", {"tables": 2}))
    hot.record(Act("vacuum", None, "run-3", {"dataset": "news"}))
    newest = hot.last("vacuum", MARKET_DATA)
    assert (newest.run_id, newest.partition, newest.detail) == ("run-2", day(), {"tables": 2})
    assert newest.at is not None
    assert hot.last("rotate", MARKET_DATA) is None


def test_lines_of_the_audit_log_that_come_together_keep_their_order(hot):
    good = Act("transition", None, "run-1", {"dataset": "market_data", "path": "a"})
    hot.record(good, replace(good, detail={"dataset": "market_data", "path": "b"}))
    assert [act.detail["path"] for act in hot.audit(AuditQuery(names=["transition"]))] == ["b", "a"]


def test_one_act_at_a_time_holds_off_its_like_and_nobody_else(hot):
    with hot.alone("tiering", MARKET_DATA):
        with (
            pytest.raises(LockTimeoutError, match="another run is tiering market_data"),
            hot.alone("tiering", MARKET_DATA, wait_seconds=0.1),
        ):
            pytest.fail("two at a time")
        with hot.writer(MARKET_DATA, wait_seconds=0.1), hot.alone("tiering", NEWS, wait_seconds=0.1):
            pass
    with hot.alone("tiering", MARKET_DATA, wait_seconds=0.1):
        pass


def test_a_rejected_row_is_kept_once_for_each_reason(hot):
    one = Rejected("market_data", "made", "a.csv", '{"close": "\\u0000"}', "close: is not a number")
    hot.quarantine([one, one], run_id="run-1")
    hot.quarantine([one, Rejected("market_data", "made", "a.csv", one.record, "ts: is missing")], run_id="run-2")
    with hot.writer(MARKET_DATA) as writer:
        writer.publish(Publication(MARKET_DATA, None, "run-3", rejected=[one]))
    kept = [(each.row.reason, each.run_id) for each in hot.quarantined(QuarantineQuery())]
    assert kept == [("close: is not a number", "run-1"), ("ts: is missing", "run-2")]


def test_each_dataset_is_its_own(hot, lake):
    hot.ingest(NEWS, table(rows(NEWS)), hot_days=[Partition("news", "", DAY)], run_id="run")
    ingest(hot, bars(day()))
    assert [d.partition for d in hot.hot_days(NEWS)] == [Partition("news", "", DAY)]
    assert hot.hot_days(MARKET_DATA) == []
    assert hot.late(NEWS) == {}
    assert_answers(hot, lake, bars(day()))


def test_one_look_spans_several_datasets(hot):
    hot.ingest(NEWS, table(rows(NEWS)), hot_days=[Partition("news", "", DAY)], run_id="run")
    ingest(hot, bars(day()), hot_days=[day()])
    with hot.snapshot([NEWS, MARKET_DATA], ALL_DAYS) as snapshot:
        assert snapshot.hot == {Partition("news", "", DAY), day()}


# ------------------------------------------------------------------------------------------------------- both tiers


def test_one_answer_spans_both_tiers_in_order_with_limit_columns_and_filters(hot, lake):
    publish(hot, lake, bars(day()), bars(day(2)), bars(day(1, "1hour")))
    ingest(hot, bars(day(1)), bars(day(3)), hot_days=[day(1), day(3)])
    ingest(hot, bars(day(2), ["IBM"], ingested_at=LATER))
    whole = answer(hot, lake)
    order = [(row["interval"], row["ts"], row["asset_class"], row["symbol"]) for row in whole.to_pylist()]
    assert order == sorted(order)
    assert len(order) == len(set(order)) == 33
    for limit in (0, 1, 8, 19, 33, 99):
        assert answer(hot, lake, limit=limit).equals(whole.slice(0, limit))
    closes = answer(hot, lake, columns=("close", "symbol"), intervals=("1min",), symbols=("MSFT",))
    assert closes.column_names == ["close", "symbol"]
    assert len(closes) == 12
    between = answer(hot, lake, start=day(1).start + timedelta(minutes=1), end=day(2).start + timedelta(minutes=1))
    assert len(between) == 4 + 4 + 3
    assert answer(hot, lake, symbols=("NONE",)).num_rows == 0
    assert answer(hot, lake, columns=("ts",), limit=5).schema.names == ["ts"]


def test_the_answer_is_the_same_on_a_local_lake_with_its_iceberg_table(hot, tmp_path):
    with open_lake(str(tmp_path / "lake"), catalog_url=f"sqlite:///{tmp_path}/catalog.db") as lake:
        publish(hot, lake, bars(day()))
        ingest(hot, bars(day(1)), hot_days=[day(1)])
        assert_answers(hot, lake, bars(day()), bars(day(1)))
        rotate(hot, lake, day(1))
        assert_answers(hot, lake, bars(day()), bars(day(1)))


# -------------------------------------------------------------------------------------------------------------- trouble


def in_trouble(hot):
    return [(trouble.partition, trouble.act, trouble.times) for trouble in hot.trouble(MARKET_DATA)]


def test_what_an_act_could_not_do_is_kept_with_the_last_reason_and_counted(hot):
    hot.note_trouble("rotate", [Failed(day(1), "first"), Failed(day(), "other")], run_id="r1")
    hot.note_trouble("rotate", [Failed(day(1), "second")], run_id="r2")
    hot.note_trouble("load", [Failed(day(1), "slow")], run_id="r3")
    hot.note_trouble("load", [], run_id="r4")
    assert in_trouble(hot) == [(day(), "rotate", 1), (day(1), "load", 1), (day(1), "rotate", 2)]
    last = hot.trouble(MARKET_DATA)[-1]
    assert (last.reason, last.run_id) == ("second", "r2")
    assert last.first_at < last.last_at
    assert hot.trouble(NEWS) == []


def test_trouble_of_an_act_ends_with_the_commit_in_which_it_succeeds_and_no_other(hot, lake):
    acts = ("rotate", "backfill", "load", "release")
    for act in acts:
        hot.note_trouble(act, [Failed(day(), "broken"), Failed(day(1), "broken")], run_id="r1")
    others = [(day(1), act, 1) for act in sorted(acts)]
    [vintage] = publish(hot, lake, bars(day()))
    assert in_trouble(hot) == [(day(), "load", 1), (day(), "release", 1), (day(), "rotate", 1), *others]
    load(hot, lake, vintage)
    assert in_trouble(hot) == [(day(), "release", 1), (day(), "rotate", 1), *others]
    rotate(hot, lake, day())
    assert in_trouble(hot) == [(day(), "release", 1), *others]
    with hot.writer(MARKET_DATA) as writer:
        [detached] = hot.detached(MARKET_DATA)
        writer.release(detached, run_id="r2")
    assert in_trouble(hot) == others
    hot.end_trouble("rotate", [day(1), day(2)])
    assert in_trouble(hot) == [other for other in others if other[1] != "rotate"]


def test_trouble_stays_where_the_commit_fails(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    hot.note_trouble("load", [Failed(day(), "broken")], run_id="r1")
    with pytest.raises(FingerprintMismatchError):
        load(hot, lake, vintage, [bars(day(), close="1")])
    assert in_trouble(hot) == [(day(), "load", 1)]


def test_a_day_that_is_backfilled_into_hot_alone_is_out_of_trouble(hot, lake):
    hot.note_trouble("backfill", [Failed(day(), "broken")], run_id="r1")
    publish(hot, lake, hot_rows={day(): [bars(day())]})
    assert in_trouble(hot) == []


def test_the_head_is_also_told_to_who_writes_nothing(hot):
    assert hot.head(MARKET_DATA) is None
    with hot.writer(MARKET_DATA) as writer:
        writer.publish(Publication(MARKET_DATA, "17", "run"))
    assert hot.head(MARKET_DATA) == "17"
    assert hot.head(NEWS) is None


def test_what_derived_days_were_made_of_is_kept_and_replaced(hot):
    assert hot.derivations(NEWS) == {}
    first, second = (Derivation(Partition("news", "", DAY + timedelta(days=n)), f"in{n}", f"out{n}") for n in (0, 1))
    hot.note_derivations([second, first], run_id="r1")
    assert list(hot.derivations(NEWS).items()) == [(first.partition, first), (second.partition, second)]
    changed = replace(first, inputs="other")
    hot.note_derivations([changed], run_id="r2")
    assert list(hot.derivations(NEWS).values()) == [changed, second]
    assert hot.derivations(MARKET_DATA) == {}
