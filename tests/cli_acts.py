"""The `thermocline` command in this process, and what the sample says without any of our code."""

import csv
import gzip
import importlib.resources
import json
import sys
from decimal import Decimal
from pathlib import Path

from click.testing import CliRunner

from thermocline.cli import main

PROGRAM = Path(sys.executable).with_name("thermocline")
START, END = "2012-01-01", "2013-03-01"
SAMPLE = ("backfill", "market_data", "--source", "sample")
JANUARY = (*SAMPLE, "--start", "2013-01-01", "--end", "2013-02-01")
PRICES = ("open", "high", "low", "close")


def run(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == code, f"{arguments}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


def answer(*arguments, code=0):
    """The one JSON document that the command prints."""
    return json.loads(run(*arguments, "--json", code=code).stdout)


def source_rows(start=START, end=END):
    """What the sample's own file says, read without any of our code."""
    packed = importlib.resources.files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    with packed.open("rb") as stream, gzip.open(stream, "rt", encoding="utf-8") as text:
        return [row for row in csv.DictReader(text) if start <= row["Date"] < end]


def of_source(row):
    return (row["Ticker"], row["Date"], *(Decimal(row[name.title()]) for name in PRICES), float(row["Volume"]))


def of_answer(row):
    assert row["ts"].endswith("T00:00:00+00:00")
    return (row["symbol"], row["ts"][:10], *(Decimal(row[name]) for name in PRICES), row["volume"])
