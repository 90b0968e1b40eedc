"""Variables, files and arguments: which one is stronger, and what each may say."""

import json
from pathlib import Path

from settings_acts import is_section, load

from thermocline.settings import Document, load_settings
from thermocline.settings_layers import key_paths, variable

FEED = {
    "symbols": ["SPY"],
    "symbols_file": None,
    "symbols_of": None,
    "intervals": ["1day"],
    "schedule": "0 22 * * 1-5",
    "days": 3,
    "missing": True,
}
DROP = {
    "folder": "/srv",
    "dataset": "news",
    "source": "mine",
    "pattern": "*.csv",
    "settle_seconds": 60,
    "keep": True,
}


def test_a_variable_beats_the_file_and_the_file_beats_the_default(write):
    write("storage: {lifecycle: {hot_days: 5, undo_days: 2}}")
    settings = load(STORAGE__LIFECYCLE__HOT_DAYS="9")
    assert (settings.lifecycle.hot_days, settings.lifecycle.undo_days) == (9, 2)
    assert settings.storage.lifecycle.archive_on_backfill


def test_an_argument_beats_the_variable_of_the_home(tmp_path):
    environ = {"THERMOCLINE_HOME": "from-variable"}
    assert load_settings(environ=environ).home == tmp_path / "from-variable"
    assert load_settings(home=Path("from-argument"), environ=environ).home == tmp_path / "from-argument"


def test_the_file_of_the_home_beats_the_one_of_the_folder(write):
    write("storage: {lifecycle: {hot_days: 1}}")
    assert load().lifecycle.hot_days == 1
    own = write("storage: {lifecycle: {hot_days: 2}}", ".thermocline/thermocline.yaml")
    assert load().lifecycle.hot_days == 2
    assert load().config == own
    named = write("storage: {lifecycle: {hot_days: 3}}", "named.yaml")
    assert load(CONFIG=str(named)).lifecycle.hot_days == 3
    other = write("storage: {lifecycle: {hot_days: 4}}", "other.yaml")
    assert load_settings(config=other, environ={"THERMOCLINE_CONFIG": str(named)}).lifecycle.hot_days == 4


def test_every_scalar_key_can_be_set_by_a_variable():
    values = {
        "hot_url": "postgresql://h/d",
        "lake_url": "s3://bucket/lake",
        "catalog_url": "sqlite:////a/catalog.db",
        "hot_days": "11",
        "hot_intervals": '["1min"]',
        "archive_on_backfill": "false",
        "undo_days": "0",
        "keep_vintages_days": "365",
        "object_grace_hours": "48",
        "compact_target_mib": "64",
        "rotation_memory_mib": "512",
        "raw_days": "30",
        "processed_days": "30",
        "cache_days": "30",
        "abandoned_fetch_days": "30",
        "hold_symbols": "3",
        "hold_share": "0.5",
        "hold_after_days": "3",
        "strictness": "warn",
        "max_bad_share": "0.3",
        "min_bad_rows": "5",
        "price_tolerance": "0.01",
        "look_back_days": "60",
        "days": "9",
        "acknowledged": '["jumps/AAPL/2000-09-29"]',
        "severity": "error",
        "threshold": "0.25",
        "tolerance": "0.25",
        "turnover": "4.0",
        "agreement": "0.25",
        "rows": "30",
        "symbols": "9",
        "share": "0.75",
        "gap_days": "90",
        "volume_tolerance": "0.5",
        "enabled": "false",
        "schedule": "30 3 * * mon-fri",
        "timezone": "America/New_York",
        "schema": "market",
        "preset": "s3",
        "steps": '{"30": "STANDARD_IA"}',
        "delete_after_days": "4000",
        "reads_per_month": "0.5",
        "prices": "/srv/prices.yaml",
        "price_region": "us-east-1",
        "endpoint_url": "http://localhost:9000",
        "region": "eu-central-1",
        "kms_key_id": "alias/lake",
        "requester_pays": "true",
        "project": "market",
        "kms_key_name": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "user_project": "payer",
        "memory_mib": "0",
        "max_entry_mib": "2",
        "redis_url": "redis://cache:6380/1",
        "redis_mib": "100",
        "ttl_seconds": "600",
        "memory_limit_mib": "512",
        "threads": "3",
        "timeout_seconds": "90",
        "attempts": "7",
        "max_retries_per_run": "0",
        "max_requests_per_run": "5000",
        "ask_again_days": "7",
        "calendars": '{"equity/*.L": "XLON"}',
        "fetch_from": '{"equity": "mine"}',
        "partitions": "9",
        "benchmark": "QQQ",
        "automatic": "true",
        "feeds": json.dumps({"alpaca/market_data": FEED}),
        "drops": json.dumps({"broker": DROP}),
        "freshness": '{"news": {"calendar": "XLON", "interval": null, "hours": 3}}',
        "benchmark_asset_class": "fund",
        "start": "2000-01-03",
        "sources": '{"mine": {"kind": "files"}}',
        "datasets": '{"news": {"hot_days": 3}}',  # what an entry of a mapping leaves out has its default
    }
    leaves = [path for path in key_paths(Document) if not is_section(path)]
    settings = load_settings(environ={variable(path): values[path[-1]] for path in leaves})
    shown = json.loads(settings.model_dump_json(by_alias=True))
    for path in leaves:
        value = shown
        for key in path:
            value = value[key]
        meant = _meant(values[path[-1]])
        if path == ("datasets",):
            value, meant = value["news"]["hot_days"], meant["news"]["hot_days"]
        assert value == meant, path


def _meant(text):
    if text == '["1min"]':
        return {"1min": None}
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def test_a_calendar_that_is_set_leaves_the_others_as_they_are(write):
    write("calendars: {equity: XLON, equity/7203: XTKS, equity/*.L: XLON, crypto/*: none}")
    rules = load().calendar_rules
    asked = [
        ("equity", "7203"),
        ("equity", "VOD.L"),
        ("equity", "SAP"),
        ("crypto", "BTC/USD"),
        ("future", "ES"),
        ("x", "y"),
    ]
    assert [rules.of(*each) for each in asked] == ["XTKS", "XLON", "XLON", None, "CMES", None]


def test_one_dataset_or_source_can_be_set_by_a_variable(write):
    write("sources: {mine: {kind: files, path: /a}}\ndatasets: {news: {hot_days: 3}}")
    settings = load(SOURCES__MINE__PATH="/b", DATASETS__MARKET_DATA__HOT_DAYS="60")
    assert settings.sources == {"mine": {"kind": "files", "path": "/b"}}
    assert settings.lifecycle.windows == {"news": 3, "market_data": 60}


def test_an_empty_variable_sets_nothing():
    assert load(HOT_URL="", STORAGE__LIFECYCLE__HOT_DAYS="").hot_url is None


def test_intervals_may_carry_windows_of_their_own(write):
    write("storage: {lifecycle: {hot_intervals: {1min: 5, 1day:}}}")
    lifecycle = load().lifecycle
    assert lifecycle.hot_intervals == {"1min": 5, "1day": None}
    assert lifecycle.window_days("market_data", "1min") == 5
    assert lifecycle.window_days("market_data", "1day") == 30


def test_a_lake_may_be_a_plain_folder_that_starts_where_it_is_named(write, tmp_path):
    write("lake_url: my lake", "conf/thermocline.yaml")
    assert load(CONFIG="conf/thermocline.yaml").lake_url.reveal() == f"file://{tmp_path}/conf/my%20lake"
    assert load(LAKE_URL="here").lake_url.reveal() == f"file://{tmp_path}/here"
    assert load(LAKE_URL="/there").lake_url.reveal() == "file:///there"


def test_a_sources_path_starts_at_the_folder_of_its_file(write, tmp_path):
    write("sources: {a: {path: bars/*.csv}, b: {path: 's3://bucket/x'}, c: {path: /abs}}", "conf/thermocline.yaml")
    paths = {name: options["path"] for name, options in load(CONFIG="conf/thermocline.yaml").sources.items()}
    assert paths == {"a": f"{tmp_path}/conf/bars/*.csv", "b": "s3://bucket/x", "c": "/abs"}
