"""From a name and options to a source."""

import subprocess
import sys

import pytest

from thermocline.errors import SettingsError, SourceError, UsageError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import FetchRequest
from thermocline.sources.open import KINDS, open_source


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_opens_by_its_name_and_reads_nothing_yet(kind):
    source = open_source(kind, path="/nowhere" if kind in {"files", "lean"} else None)
    assert source.name == kind


def test_a_configured_source_is_called_by_its_own_name():
    source = open_source("vendor_dump", options={"kind": "files", "path": "/nowhere/*.csv"})
    assert source.name == "vendor_dump"


def test_an_unknown_name_is_refused_with_the_nearest_right_one():
    with pytest.raises(UsageError, match="no source is called 'synthetik'; did you mean 'synthetic'"):
        open_source("synthetik")


def test_an_unknown_kind_is_an_error_of_the_settings():
    with pytest.raises(SettingsError, match="did you mean 'lean'"):
        open_source("mine", options={"kind": "leann", "path": "x"})


def test_an_unknown_option_is_refused_with_the_nearest_right_one():
    with pytest.raises(SettingsError, match=r"sources\.files: no option is called 'colums'; did you mean 'columns'"):
        open_source("files", path="x", options={"colums": {}})


def test_an_option_of_one_source_is_unknown_to_another():
    with pytest.raises(SettingsError, match=r"sources\.sample: no option is called 'path'; it has none"):
        open_source("sample", path="x")


@pytest.mark.parametrize("kind", ["files", "lean"])
def test_a_source_that_reads_a_folder_needs_a_path(kind):
    with pytest.raises(SettingsError, match=f"source '{kind}' needs .*--path"):
        open_source(kind)


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        ("files", {"timezone": "New York"}, "'New York' is not a time zone"),
        ("files", {"symbol_from": "([A-Z]+)"}, "needs a named group"),
        ("files", {"symbol_from": "("}, "no regular expression"),
        ("files", {"delimiter": "::"}, "delimiter"),
        ("lean", {"asset_class": "bond"}, "asset_class"),
        ("lean", {"timezone": "../etc/passwd"}, "is not a time zone"),
        ("synthetic", {"interval": "daily"}, "not an interval"),
        ("synthetic", {"interval": "1month"}, "makes no 1month bars"),
        ("synthetic", {"symbols": 0}, "symbols"),
        ("synthetic", {"start_price": -1}, "start_price"),
    ],
)
def test_a_wrong_value_is_named(kind, options, complaint):
    with pytest.raises(SettingsError, match=complaint):
        open_source(kind, path=None if kind == "synthetic" else "x", options=options)


def test_a_path_given_by_hand_goes_before_the_one_in_the_settings(tmp_path):
    source = open_source("files", path=str(tmp_path / "by_hand"), options={"path": str(tmp_path / "set")})
    with pytest.raises(SourceError, match="by_hand: there is no such file"):
        list(source.fetch(FetchRequest(MARKET_DATA, ALL_DAYS)))


def test_naming_a_source_loads_no_vendor_and_no_pandas():
    code = (
        "import sys; from thermocline.sources.open import open_source; open_source('sample');"
        "open_source('files', path='x'); open_source('lean', path='x'); open_source('synthetic');"
        "sys.exit(any(name in sys.modules for name in ('pandas', 'bokeh_sampledata', 'dagster', 'duckdb')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
