"""Versions of columns: which step is safe, what a process knows, and that old receipts keep their meaning."""

from dataclasses import replace

import pyarrow as pa
import pytest
from made_rows import DAY, rows

from thermocline.model.dataset import Column, Kind
from thermocline.model.datasets import BUILT_IN, MARKET_DATA, NEWS
from thermocline.model.declared import Declared
from thermocline.model.fingerprint import contents_of
from thermocline.model.schema import TYPES, Schema, blocking, changes_between, evolved
from thermocline.stores.iceberg_tables import _TYPES as ICEBERG
from thermocline.stores.postgres.tables import sql_type

SPREAD = Column("spread", Kind.PRICE, description="ask minus bid")


def with_column(of, **changes):
    """NEWS with one column changed."""
    kept = [replace(c, **changes) if c.name == of else c for c in NEWS.columns]
    return Schema.of(replace(NEWS, columns=tuple(kept)))


def told(new, old=None):
    return [(change.what, change.refusal) for change in changes_between(old or Schema.of(NEWS), new)]


@pytest.mark.parametrize("kind", Kind)
def test_the_types_that_are_shown_are_those_of_the_stores(kind):
    column = Column("x", kind)
    shown = TYPES[kind]
    assert shown["arrow"] == str(column.arrow_field.type)
    assert shown["postgresql"] == sql_type(column).as_string()
    assert shown["iceberg"] == str(ICEBERG[kind])


def test_a_version_is_the_same_after_it_was_written_down():
    for dataset in BUILT_IN:
        assert Schema.from_json(Schema.of(dataset).to_json()) == Schema.of(dataset)


def test_columns_are_added_at_the_end_and_prices_widened_where_they_stand():
    old = Schema.of(MARKET_DATA)
    wider = MARKET_DATA.with_columns([SPREAD])
    wider = replace(wider, columns=tuple(replace(c, kind=Kind.MONEY) if c.name == "vwap" else c for c in wider.columns))
    assert told(Schema.of(wider), old) == [
        ("column vwap changes from price to money, which holds every price", ""),
        ("column spread (price) is added", ""),
    ]
    new = evolved(old, Schema.of(wider))
    assert [column.name for column in new.columns] == [*MARKET_DATA.names, "spread"]
    assert (new.version, changes_between(new, Schema.of(wider))) == (2, [])


def test_words_are_no_change_and_a_value_may_be_missing_from_now_on():
    assert told(with_column("headline", description="what it says")) == []
    assert told(with_column("headline", nullable=True)) == [("column headline may be null", "")]


@pytest.mark.parametrize(
    ("new", "what", "why"),
    [
        (with_column("headline", name="title"), "is there and not declared", "must have a value of it"),
        (with_column("summary", name="abstract"), "is there and not declared", "neither dropped nor renamed"),
        (with_column("summary", nullable=False), "summary must have a value", "rows that are there may have none"),
        (with_column("sentiment_score", kind=Kind.INTEGER), "from float to integer", "add a column of another name"),
        (Schema.of(replace(NEWS, key=("article_id", "ts"))), "key changes from", "declare a dataset of another name"),
        (
            Schema.of(NEWS.with_columns([Column("lang", Kind.TEXT, nullable=False)])),
            "lang (text) is added and must have a value",
            "declare it without `required`",
        ),
    ],
)
def test_what_is_not_safe_is_refused_with_the_reason_and_what_to_do_instead(new, what, why):
    refused = [(said, reason) for said, reason in told(new) if reason]
    assert any(what in said and why in reason for said, reason in refused), refused


def test_whole_numbers_do_not_become_floats_nor_money_a_price():
    whole = Schema.of(NEWS.with_columns([Column("n", Kind.INTEGER), Column("m", Kind.MONEY)]))
    other = Schema.of(NEWS.with_columns([Column("n", Kind.FLOAT), Column("m", Kind.PRICE)]))
    (_, integer), (_, money) = told(other, whole)
    assert "2**53" in integer
    assert "need not fit" in money


# ------------------------------------------------------------------------------------------------ what a process knows


def test_a_process_works_with_what_is_applied_and_says_what_waits():
    known = Declared(BUILT_IN)
    known.declare([MARKET_DATA.with_columns([SPREAD])])
    assert "spread" in known["market_data"].names
    known.apply({"market_data": [Schema.of(MARKET_DATA)]}, known)
    assert known["market_data"] == MARKET_DATA
    assert [change.column.name for change in known.pending("market_data")] == ["spread"]
    known.apply_one(evolved(Schema.of(MARKET_DATA), Schema.of(known.declared("market_data"))))
    applied = known["market_data"]
    assert (applied.schema_version, applied.column("spread").description) == (2, "ask minus bid")
    assert known.pending("market_data") == []


def test_a_declaration_that_is_older_than_the_stores_neither_hides_a_column_nor_holds_up_rows():
    known = Declared(BUILT_IN)
    newer = Schema.of(MARKET_DATA.with_columns([SPREAD]), version=2)
    known.apply({"market_data": [Schema.of(MARKET_DATA), newer]}, known)
    assert "spread" in known["market_data"].names
    assert known.pending("market_data") == blocking(changes_between(newer, Schema.of(MARKET_DATA))) == []


def test_a_dataset_that_nothing_declares_any_more_stays_what_it_is():
    known = Declared(BUILT_IN)
    mine = Schema.of(replace(NEWS, name="mine"), version=3)
    known.apply({"mine": [mine]}, known)
    assert (known["mine"].columns, known["mine"].schema_version, known.declared("mine")) == (NEWS.columns, 3, None)
    assert known.pending("mine") == []


def test_another_declaration_replaces_what_was_declared_and_applied():
    known = Declared(BUILT_IN)
    known.declare([replace(NEWS, name="mine")])
    known.apply({"news": [Schema.of(NEWS, version=7)]}, known)
    assert (known["news"].schema_version, list(known)[-1]) == (7, "mine")
    known.declare([])
    assert list(known) == [dataset.name for dataset in BUILT_IN]
    assert known["news"] is NEWS
    assert not known.were_asked(known)


# -------------------------------------------------------------------------------------------------------- old receipts


def test_rows_are_the_same_with_a_column_that_is_null_in_every_row():
    batch = rows(NEWS, day=DAY)
    wider = NEWS.with_columns([SPREAD])
    nulls = pa.nulls(batch.num_rows, SPREAD.arrow_field.type)
    old, new = contents_of(NEWS, [batch]), contents_of(wider, [batch.append_column("spread", nulls)])
    assert old.differences(new) == new.differences(old) == []
    assert old.content_fingerprint == new.content_fingerprint


def test_a_column_that_lost_all_its_values_is_not_the_same():
    batch = rows(NEWS, day=DAY)
    number = batch.schema.get_field_index("url")
    emptied = batch.set_column(number, batch.schema.field("url"), pa.nulls(batch.num_rows, pa.string()))
    differences = contents_of(NEWS, [batch]).differences(contents_of(NEWS, [emptied]))
    assert [each.split(":")[0] for each in differences] == ["null_counts", "fingerprint", "content_fingerprint"]


def test_a_price_that_became_money_is_the_same_price():
    batch = rows(MARKET_DATA, day=DAY)
    wider = replace(
        MARKET_DATA,
        columns=tuple(replace(c, kind=Kind.MONEY) if c.name == "vwap" else c for c in MARKET_DATA.columns),
    )
    cast = pa.Table.from_batches([batch]).cast(wider.arrow_schema).to_batches()
    assert contents_of(MARKET_DATA, [batch]).differences(contents_of(wider, cast)) == []
