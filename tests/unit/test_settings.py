"""thermocline.yaml and THERMOCLINE_* variables."""

import json
import pickle
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from thermocline.errors import SettingsError
from thermocline.model.lifecycle import Lifecycle
from thermocline.settings import Document, Settings, load_settings
from thermocline.settings_layers import key_paths, variable

REPOSITORY = Path(__file__).parents[2]


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


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No thermocline.yaml of the repository in sight."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    """Write a thermocline.yaml into the current folder."""

    def write(text: str, name: str = "thermocline.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def load(**variables: str) -> Settings:
    """The settings that short variable names give, without the environment of this process."""
    return load_settings(environ={f"THERMOCLINE_{name}": text for name, text in variables.items()})


def refused(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    return str(caught.value)


# ----------------------------------------------------------------------------------------------------------- defaults


def test_without_any_setting_everything_lives_in_the_home(tmp_path):
    settings = load()
    assert settings.home == tmp_path / ".thermocline"
    assert settings.config is None
    assert settings.hot_url is None
    assert settings.catalog_url is None
    assert settings.lake_url.reveal() == f"file://{tmp_path}/.thermocline/lake"
    assert settings.lifecycle == Lifecycle()
    assert settings.storage.lifecycle.auto_rotation.schedule == "0 2 * * *"
    assert settings.partitions.start == date(1990, 1, 1)


def test_the_repositorys_file_says_exactly_the_defaults():
    written = load_settings(config=REPOSITORY / "thermocline.yaml", environ={})
    assert written.model_copy(update={"config": None}) == load()


def test_the_repositorys_file_names_every_key():
    text = (REPOSITORY / "thermocline.yaml").read_text()
    document = yaml.safe_load(text)

    def named(path):
        value = document
        for key in path:
            if key not in value:
                return False
            value = value[key]
        return True

    assert [path for path in key_paths(Document) if not named(path)] == []


def test_the_repositorys_file_explains_every_key_in_one_line():
    lines = (REPOSITORY / "thermocline.yaml").read_text().splitlines()
    leaves = {path[-1] for path in key_paths(Document) if not _is_section(path)}
    explained = [line for before, line in pairwise(lines) if before.lstrip().startswith("#")]
    assert {line.split(":")[0].strip() for line in explained} >= leaves


def _is_section(path):
    return any(other[: len(path)] == path and other != path for other in key_paths(Document))


def test_the_guide_names_every_key():
    guide = (REPOSITORY / "docs/guide/settings.md").read_text()
    missing = [path for path in key_paths(Document) if not _is_section(path) and f"`{'.'.join(path)}`" not in guide]
    assert missing == []


def test_a_key_left_empty_keeps_its_default(write):
    write("storage:\n  lifecycle:\n    hot_days:\nhot_url:\n")
    assert load().lifecycle.hot_days == 30


# --------------------------------------------------------------------------------------------------- order of strength


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
    leaves = [path for path in key_paths(Document) if not _is_section(path)]
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


# --------------------------------------------------------------------------------------------------------------- values


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


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("storage: {lifecycle: {hot_days: 0}}", "storage.lifecycle.hot_days: 0 should be greater than or equal to 1"),
        ("storage: {lifecycle: {hot_days: ten}}", "storage.lifecycle.hot_days: 'ten' should be a"),
        ("storage: {lifecycle: {hot_days: true}}", "storage.lifecycle.hot_days: True should be a number"),
        ("storage: {lifecycle: {hot_days: 99999999}}", "should be less than or equal to 36500"),
        (
            "storage: {lifecycle: {undo_days: -1}}",
            "storage.lifecycle.undo_days: -1 should be greater than or equal to 0",
        ),
        ("storage: {lifecycle: {hot_intervals: 1day}}", "should be a list of intervals"),
        ("storage: {lifecycle: {hot_intervals: [1dya]}}", "'1dya' is not an interval"),
        (
            "storage: {lifecycle: {hot_intervals: {1min: 0}}}",
            "storage.lifecycle.hot_intervals.1min: 0 should be greater",
        ),
        ("storage: {lifecycle: {archive_on_backfill: perhaps}}", "archive_on_backfill: 'perhaps' should be a boolean"),
        ("storage: {lifecycle: {auto_rotation: {schedule: 0 2 * *}}}", "cron's five fields"),
        ("storage: {lifecycle: {auto_rotation: {schedule: 0 25 * * *}}}", "'25' can't stand for the hour"),
        ("storage: {lifecycle: {auto_rotation: {timezone: Berlin}}}", "did you mean Europe/Berlin?"),
        ("storage: {lifecycle: {auto_rotation: {timezone: ../etc/passwd}}}", "is not a time zone"),
        ("storage: {hot: {schema: 'a; drop'}}", "can't be the schema"),
        ("storage: {hot: {schema: pg_catalog}}", "can't be the schema"),
        ("storage: {duckdb: {threads: 0}}", "storage.duckdb.threads: 0 should be greater than or equal to 1"),
        ("storage: 5", "storage: 5 should be a mapping of keys"),
        (
            "datasets: {market_dat: {hot_days: 3}}",
            "datasets.market_dat: no dataset is called 'market_dat'; did you mean",
        ),
        ("sources: {mine: 5}", "sources.mine: 5 should be a mapping of keys"),
        ("partitions: {start: 1990}", "partitions.start: 1990 should be a date"),
        ("partitions: {start: 1990-13-01}", "partitions.start: '1990-13-01' is not a date"),
        ("hot_url: localhost", "hot_url: not the URL of a PostgreSQL; write one such as"),
        ("lake_url: file://lake", "lake_url: 'file://lake' is not an absolute file URL"),
        ("lake_url: s3://", "lake_url: 's3://' is not the URL of a lake; write s3://BUCKET/PREFIX"),
    ],
)
def test_a_wrong_value_is_told_with_its_path_and_what_is_allowed(write, document, expected):
    path = write(document)
    assert expected in refused()
    assert f"(in {path})" in refused()


def test_a_wrong_variable_is_named():
    text = refused(STORAGE__LIFECYCLE__HOT_DAYS="many")
    assert text.startswith("storage.lifecycle.hot_days: 'many' should be a")
    assert text.endswith("(from THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS)")
    assert "THERMOCLINE_STORAGE: begins like JSON but is not" in refused(STORAGE="{lifecycle}")


def test_every_problem_is_told_at_once(write):
    write("storage: {lifecycle: {hot_days: 0, undo_days: -1}, hot: {schema: A}}")
    assert len(refused().splitlines()) == 3


# -------------------------------------------------------------------------------------------------------- unknown keys


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("storage: {lifecycle: {hot_day: 3}}", "storage.lifecycle.hot_day: unknown; did you mean hot_days?"),
        ("storge: {}", "storge: unknown; did you mean storage?"),
        ("hot_days: 3", "hot_days: unknown; did you mean storage.lifecycle.hot_days?"),
        (
            "storage: {auto_rotation: {}}",
            "storage.auto_rotation: unknown; did you mean storage.lifecycle.auto_rotation?",
        ),
        ("datasets: {news: {hot_dais: 3}}", "datasets.news.hot_dais: unknown; did you mean hot_days?"),
        ("partitions: {zzz: 1}", "partitions.zzz: unknown; there is start"),
        ("home: /x", "home: unknown"),
        ("1: x", "1: unknown"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(write, document, expected):
    write(document)
    assert expected in refused()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HOT_ULR", "THERMOCLINE_HOT_ULR: unknown; did you mean THERMOCLINE_HOT_URL?"),
        ("HOT_DAYS", "did you mean THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS?"),
        ("STORAGE_LIFECYCLE_HOT_DAYS", "did you mean THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS?"),
        ("STORAGE__LIFECYCLE__HOT_DAY", "did you mean THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS?"),
        ("DATASETS__NEWS__HOT_DAY", "did you mean THERMOCLINE_DATASETS__NEWS__HOT_DAYS?"),
        ("HOT_URL__X", "did you mean THERMOCLINE_HOT_URL?"),
        ("ZZZ", "THERMOCLINE_ZZZ: unknown; there are THERMOCLINE_HOT_URL, "),
        ("", "THERMOCLINE_: unknown"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_one(name, expected):
    assert expected in refused(**{name: "1"})


def test_variables_that_are_no_settings_are_let_be():
    links = {"SERVICE_HOST": "10.0.0.1", "PORT": "tcp://10.0.0.1:5432", "PORT_5432_TCP_ADDR": "10.0.0.1"}
    load(DEBUG="1", POSTGRES_SERVICE_PORT="5432", **links)


# ---------------------------------------------------------------------------------------------------- unreadable files


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("storage:\n  lifecycle: [1\nx: 2", "line 3"),
        ("hot_url: a\nhot_url: b", "line 2, column 1: the key 'hot_url' stands here a second time"),
        ("- a\n- b", "should be a mapping of keys"),
        ("a: *nowhere", "line 1"),
        ("a: !!python/object:os.system {}", "line 1"),
    ],
)
def test_an_unreadable_file_is_told_with_its_line(write, document, expected):
    path = write(document)
    assert refused().startswith(f"{path}: ")
    assert expected in refused()


def test_a_file_that_was_named_must_be_there(tmp_path):
    assert f"{tmp_path}/absent.yaml: can't be read: No such file" in refused(CONFIG="absent.yaml")


def test_a_file_in_another_encoding_is_told(tmp_path):
    (tmp_path / "thermocline.yaml").write_bytes(b"hot_url: \xff")
    assert "is not UTF-8 text (byte 9)" in refused()


def test_an_empty_file_sets_nothing(write):
    write("# nothing yet\n")
    assert load().lifecycle == Lifecycle()


# ------------------------------------------------------------------------------------------------------------- secrets


def test_no_password_is_ever_shown(write):
    write("sources: {broker: {kind: rest, api_key: hunter2, nested: {token: hunter2}, url: 'https://u:hunter2@x'}}")
    settings = load(
        HOT_URL="postgresql://me:hunter2@db/market?sslpassword=hunter2",
        LAKE_URL="s3://KEY:hunter2@bucket/lake",
        CATALOG_URL="postgresql://me:hunter2@catalog/d",
        STORAGE__CACHE__REDIS_URL="rediss://:hunter2@cache:6379/0?password=hunter2",
    )
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json(), f"{settings}"):
        assert "hunter2" not in shown
    assert settings.hot_url.reveal() == "postgresql://me:hunter2@db/market?sslpassword=hunter2"
    assert str(settings.hot_url) == "postgresql://me:***@db/market?sslpassword=***"
    assert settings.sources["broker"]["api_key"] == "hunter2"
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  # our own bytes


def test_no_password_gets_into_an_error():
    for text in (
        refused(HOT_URL="host=db password=hunter2"),
        refused(HOT_URL='{"a": "postgresql://u:hunter2@h/d"}'),
        refused(SOURCES='{"broker": ["token=hunter2"]}'),
        refused(SOURCES__BROKER="token=hunter2"),
        refused(STORAGE__CACHE__REDIS_URL="http://:hunter2@cache"),
    ):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/x",
        "hunter2://h/x",
        "u:hunter2@h/x",
        "host=h user=u password='hunter2'",
        "postgresql://u:hunter2 @h/x",
        "postgresql://u:hunter2%zz@h/x",
        "postgresql://u:hunter2/7@h/x",
        "postgresql://u:hunter2?7@h/x",
        "postgresql://u:hunter2@[h/x",
        "postgresql://h/x?password=hunter2 7",
    ],
)
def test_a_url_that_postgresql_can_not_take_is_refused_without_its_password(url):
    for text in (refused(HOT_URL=url), refused(CATALOG_URL=url)):
        assert "hunter2" not in text
        assert "postgresql://USER:PASSWORD@HOST:5432/DATABASE" in text or "%20 for a space" in text


@pytest.mark.parametrize(
    ("written", "hot"),
    [
        ("postgres://u:p@h:1/d", "postgres://u:p@h:1/d"),
        ("postgresql+psycopg://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        ("postgresql://u:p%2F@[::1]:5432,other/d", "postgresql://u:p%2F@[::1]:5432,other/d"),
        ("postgresql://u@/d?host=/run/a%20b", "postgresql://u@/d?host=/run/a%20b"),
        ("postgresql:///d", "postgresql:///d"),
    ],
)
def test_the_hot_url_is_what_libpq_takes(written, hot):
    assert load(HOT_URL=written).hot_url.reveal() == hot


def test_the_catalog_is_one_with_a_driver():
    assert load(CATALOG_URL="postgresql://h/d").catalog_url.reveal() == "postgresql+psycopg://h/d"
    assert load(CATALOG_URL="sqlite:////a/c.db").catalog_url.reveal() == "sqlite:////a/c.db"
    assert "REST, Glue and other catalogs come with a later release" in refused(CATALOG_URL="https://u:hunter2@h/x")


def test_settings_can_not_be_changed():
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.hot_url = None
    assert isinstance(settings, BaseModel)


def test_a_vendor_s_key_is_found_in_its_variable_and_never_shows_itself():
    settings = load_settings(environ={"ACME_KEY": "", "ACME_API_KEY": "hunter2"})
    key = settings.variable("ACME_KEY", "ACME_API_KEY")
    assert key
    assert key.get_secret_value() == "hunter2"
    assert settings.variable("OTHER_KEY") is None
    assert (
        "hunter2" not in f"{key} {key!r} {settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    )


# --------------------------------------------------------------------------------------------------- declared datasets


def test_a_dataset_is_declared_by_its_columns_and_gets_what_every_dataset_needs(write):
    write(
        "datasets: {mine: {description: scores, columns: {symbol: text, model: text, score: {kind: float, "
        "required: true}}, key: [symbol, model], has_intervals: true, hot_days: 3}}"
    )
    settings = load()
    (mine,) = settings.declared
    assert mine.names == ("symbol", "model", "score", "interval", "ts", "source", "ingested_at")
    assert mine.key == ("symbol", "model", "interval", "ts")
    assert (mine.symbol_column, mine.has_intervals, mine.description) == ("symbol", True, "scores")
    assert [column.name for column in mine.columns if column.nullable] == []
    assert settings.lifecycle.windows == {"mine": 3}


def test_a_built_in_dataset_gets_columns_in_front_of_its_provenance(write):
    write("datasets: {news: {columns: {language: text}}, market_data: {hot_days: 3}}")
    (news,) = load(DATASETS__NEWS__COLUMNS='{"tone": "float"}').declared
    assert news.names[-4:] == ("language", "tone", "source", "ingested_at")


def test_feeds_and_freshness_may_name_a_dataset_that_is_declared_beside_them(write):
    write("datasets: {mine: {columns: {symbol: text}}}\nfreshness: {mine: {}}\nfeeds: {files/mine: {}}")
    assert list(load().feeds) == ["files/mine"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("news: {columns: {headline: text}}", "news has a column headline already"),
        ("news: {columns: {tone: float}, key: [tone]}", "only columns can be added to it"),
        ("news: {columns: {tone: {kind: float, required: true}}}", "leave out `required`"),
        ("news: {columns: {tone: flaot}}", "datasets.news.columns.tone.kind: 'flaot' should be"),
        ("news: {columns: [tone]}", "should be a mapping from columns to kinds"),
        ("nws: {columns: {tone: float}}", "no column symbol; add it, or say which one is its `symbol_column`"),
        ("mine: {columns: {symbol: price}}", "column symbol of mine must be text"),
        ("mine: {columns: {symbol: text, source: text}}", "source is filled in by Thermocline"),
        ("mine: {columns: {symbol: text, xmin: text}}", "'xmin' can't be the name of a column"),
        ("mine: {columns: {symbol: text}, key: [model]}", "mine: columns are missing or named twice: ['model']"),
        ("Mine: {columns: {symbol: text}}", "'Mine' can't be the name of a dataset"),
        ("market_data_1day: {columns: {symbol: text}}", "what the bars of 1day of market_data are called"),
        ("mine: {columns: {symbol: text}, rules: {ohlc: warn}}", "mine has no rule 'ohlc'"),
    ],
)
def test_a_dataset_that_no_store_could_hold_is_refused(write, section, expected):
    write(f"datasets: {{{section}}}")
    assert expected in refused()


def test_a_lake_in_memory_is_a_lake():
    assert load(LAKE_URL="memory://").lake_url.reveal() == "memory://"
