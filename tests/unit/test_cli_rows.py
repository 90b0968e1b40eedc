"""How rows become text, and how the command ends."""

import contextlib
import io
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import click
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from thermocline.cli.commands import CommandLine, command
from thermocline.cli.invocation import Problem
from thermocline.cli.rows import preview, write_json
from thermocline.cli.values import csv_values, json_texts
from thermocline.cli.words import Table, size
from thermocline.errors import LakeError

PRICE = pa.decimal128(18, 8)


def reader(table):
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=3))


def as_json(source):
    stream = io.StringIO()
    try:
        write_json(contextlib.nullcontext(source), stream, Problem.of)
    finally:
        document = json.loads(stream.getvalue())
    return document


# -------------------------------------------------------------------------------------------------------------- values


@given(st.lists(st.none() | st.integers(-(10**18) + 1, 10**18 - 1).map(lambda unscaled: Decimal(unscaled).scaleb(-8))))
def test_a_price_keeps_every_digit_and_never_gets_an_exponent(prices):
    column = pa.array(prices, PRICE)
    texts = [json.loads(text) for text in json_texts(column)]
    assert texts == csv_values(column)
    assert [text and Decimal(text) for text in texts] == prices
    assert all(text is None or ("E" not in text and len(text.partition(".")[2]) == 8) for text in texts)


@given(st.lists(st.none() | st.floats()))
def test_a_number_that_json_does_not_know_is_null(numbers):
    found = [json.loads(text) for text in json_texts(pa.array(numbers, pa.float64()))]
    assert found == [number if number is not None and math.isfinite(number) else None for number in numbers]


@given(st.lists(st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))))  # noqa: DTZ001  # made aware below
def test_an_instant_is_iso_8601_in_utc(instants):
    instants = [instant and instant.replace(tzinfo=UTC) for instant in instants]
    column = pa.array(instants, pa.timestamp("us", tz="UTC"))
    expected = [instant and instant.isoformat() for instant in instants]
    assert [json.loads(text) for text in json_texts(column)] == expected
    assert [cell or None for cell in csv_values(column)] == expected


@given(st.lists(st.none() | st.text()))
def test_any_text_survives(texts):
    assert [json.loads(text) for text in json_texts(pa.array(texts, pa.string()))] == texts


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, -(2**63)], pa.int64(), [1, None, -(2**63)]),
        ([True, False, None], pa.bool_(), [True, False, None]),
        ([date(2024, 1, 15), None], pa.date32(), ["2024-01-15", None]),
        ([Decimal(10**30)], pa.decimal128(38, 0), [10**30]),
        ([[1, None], None], pa.list_(pa.int64()), [[1, None], None]),
        ([{"a": Decimal("1.50"), "b": math.nan}], pa.struct([("a", PRICE), ("b", pa.float64())]), None),
        ([b"\x00\xff"], pa.binary(), ["00ff"]),
    ],
)
def test_other_values_are_what_json_can_say(values, kind, expected):
    found = [json.loads(text) for text in json_texts(pa.array(values, kind))]
    assert found == ([{"a": "1.50000000", "b": None}] if expected is None else expected)


# ------------------------------------------------------------------------------------------------------------ documents


def test_rows_are_one_document_whatever_the_columns_are_called():
    table = pa.table([[1, 2], ["x", "y"], [None, 0.5]], names=['100% "a"', "b", "b"])
    assert as_json(reader(table)) == {
        "rows": [{'100% "a"': 1, "b": "x", "b_2": None}, {'100% "a"': 2, "b": "y", "b_2": 0.5}]
    }
    assert as_json(reader(table.slice(0, 0))) == {"rows": []}


def test_a_document_that_fails_midway_is_still_one_document():
    schema = pa.schema([("a", pa.int64())])

    def batches():
        yield pa.record_batch([[1, 2]], schema=schema)
        msg = "the disk is gone"
        raise LakeError(msg)

    stream = io.StringIO()
    with pytest.raises(LakeError):
        write_json(contextlib.nullcontext(pa.RecordBatchReader.from_batches(schema, batches())), stream, Problem.of)
    assert json.loads(stream.getvalue()) == {
        "rows": [{"a": 1}, {"a": 2}],
        "error": {"type": "LakeError", "message": "the disk is gone"},
    }


def test_a_preview_counts_no_further_than_it_should():
    table = pa.table({"n": list(range(100)), "empty": pa.nulls(100)})
    shown, *notes = preview(reader(table), 70, hide=True)
    assert isinstance(shown, Table)
    assert (shown.columns, len(shown.rows)) == (["n"], 40)
    assert notes[0].startswith("… and at least 3")
    assert notes[1].startswith("Not shown: empty")
    assert preview(reader(table), 1000, hide=False)[1:] == ("… and 60 more; use --output or --json.",)


@given(st.integers(0, 10**17))
def test_a_size_is_short(size_bytes):
    assert len(size(size_bytes)) <= len("1,023.9 KiB") or size_bytes >= 2**50


# --------------------------------------------------------------------------------------------------------- how it ends


def ending_with(error):
    @command("act")
    def act(_invocation):
        """Fail."""
        raise error

    return CommandLine("program", sections={"Acts": (act,)})


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (LakeError("the disk is gone"), 1, "the disk is gone"),
        (RuntimeError("odd\nand more"), 1, "unexpected: RuntimeError: odd. What was committed stays; run again with"),
        (OSError("postgresql://me:topsecret@db/x is odd"), 1, "postgresql://me:***@db/x"),
        (KeyboardInterrupt(), 130, "Nothing is half done"),
        (click.UsageError("no such thing"), 2, "no such thing"),
    ],
)
def test_an_error_ends_with_one_message_and_its_code(error, code, words):
    for arguments in (["act"], ["act", "--json"]):
        result = CliRunner().invoke(ending_with(error), arguments)
        assert result.exit_code == code
        assert words in result.stderr
        assert "Traceback" not in result.stderr
        assert "topsecret" not in result.output
    assert words in json.loads(result.stdout)["error"]["message"]


def test_debug_shows_where_it_happened_without_passwords():
    result = CliRunner().invoke(ending_with(OSError("postgresql://me:topsecret@db/x is odd")), ["--debug", "act"])
    assert "Traceback" in result.stderr
    assert "topsecret" not in result.output
