"""Wrong values, unknown keys and unreadable files: every one is named, with what is allowed."""

import pytest
from settings_acts import load, refused

from thermocline.model.lifecycle import Lifecycle


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
