"""Restatements that are held for a person, on a real PostgreSQL and a local lake, through the API and the command."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pytest
from click.testing import CliRunner

import thermocline
from thermocline.cli import main
from thermocline.errors import LakeError, UsageError
from thermocline.faults import listening
from thermocline.model.changes import ChangeCounts
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.journal import Event
from thermocline.ports import Fetched
from thermocline.settings import load_settings

DAY, NEXT = date(2024, 1, 15), date(2024, 1, 16)
LATER = date(2024, 3, 1)
ALL = [f"S{number:02d}" for number in range(20)]
MANY, FEW = ALL[:12], ALL[:3]


def bars(symbols, price, *days):
    rows = [(symbol, day) for day in days or (DAY,) for symbol in symbols]
    return pa.table(
        {
            "asset_class": ["equity"] * len(rows),
            "symbol": [symbol for symbol, _ in rows],
            "interval": ["1day"] * len(rows),
            "ts": pa.array([day for _, day in rows], pa.date32()),
            **{name: [price] * len(rows) for name in ("open", "high", "low", "close")},
        }
    )


class Bars:
    """A source that has these rows."""

    name = "bars"

    def __init__(self, *arguments):
        """Make the rows."""
        self.rows = bars(*arguments)

    def fetch(self, request):
        """All of them."""
        del request
        yield Fetched(self.rows, "made up")


@pytest.fixture
def opened(home, new_database):
    settings = load_settings(home, environ={"THERMOCLINE_HOT_URL": new_database("embedded")})
    with thermocline.open(settings=settings) as opened:
        opened.backfill("market_data", source=Bars(ALL, "1", DAY, NEXT))
        yield opened


def closes(opened, day=DAY, **asked):
    """The number of symbols at each price."""
    found: dict[int, int] = {}
    for close in opened.query("market_data", start=day, end=day + timedelta(days=1), **asked).to_arrow()["close"]:
        found[int(close.as_py())] = found.get(int(close.as_py()), 0) + 1
    return found


def states(opened, day=DAY):
    return [
        (v.receipt.version, v.state.value, v.is_live) for v in opened.vintages("market_data") if v.partition.day == day
    ]


def journal(opened):
    """What the lake itself says of holds and rejections."""
    entries = opened.lake.journal(MARKET_DATA).entries
    return [(entry.event, entry.version) for entry in entries if entry.event in {Event.HOLD, Event.REJECT}]


def whole(opened):
    """Nothing is wrong with the lake, and the table names just what is live."""
    report = opened.verify()
    assert (report.failed, report.table) == ([], [])
    live = {v.receipt.path for v in opened.vintages("market_data") if v.is_live}
    assert opened.lake.paths(MARKET_DATA) == live


# ------------------------------------------------------------------------------------------------------------- backfill


def test_a_restatement_of_many_symbols_is_held_and_nothing_that_readers_get_changes(opened):
    done = opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    assert (done.written, done.held, [moved.action for moved in done.moved]) == (0, 2, ["held", "held"])
    assert states(opened) == [(1, "published", True), (2, "held", False)]
    [held] = opened.vintages("market_data", states=["held"], end=NEXT)
    assert held.reason == "12 of 20 symbols changed (12 rows changed, 0 added)"
    assert closes(opened) == closes(opened, NEXT) == {1: 20}
    assert journal(opened) == [(Event.HOLD, 2), (Event.HOLD, 2)]
    assert [line.held_partitions for line in opened.status(["market_data"])] == [2]
    whole(opened)


def test_holding_the_same_again_holds_nothing_twice_and_something_else_again(opened):
    first = opened.backfill("market_data", source=Bars(MANY, "2"))
    again = opened.backfill("market_data", source=Bars(MANY, "2"))
    assert (again.held, again.moved) == (1, first.moved)
    assert len(states(opened)) == 2
    opened.backfill("market_data", source=Bars(MANY, "3"))
    assert states(opened) == [(1, "published", True), (2, "held", False), (3, "held", False)]


@pytest.mark.parametrize(
    ("source", "flag", "expected"),
    [
        (Bars(FEW, "2"), False, {1: 17, 2: 3}),
        (Bars([f"N{number}" for number in range(50)], "2"), False, {1: 20, 2: 50}),
        (Bars(MANY, "2"), True, {1: 8, 2: 12}),
    ],
    ids=["few symbols", "only new rows", "accepted in advance"],
)
def test_other_restatements_are_published_at_once(opened, source, flag, expected):
    done = opened.backfill("market_data", source=source, accept_restatements=flag)
    assert (done.written, done.held) == (1, 0)
    assert closes(opened) == expected


def test_the_threshold_can_be_set_and_switched_off(home, new_database):
    url = new_database("embedded")

    def given(**environ):
        variables = {f"THERMOCLINE_STORAGE__LIFECYCLE__RESTATEMENTS__{name}": value for name, value in environ.items()}
        return thermocline.open(settings=load_settings(home, environ={"THERMOCLINE_HOT_URL": url} | variables))

    with given(HOLD_SYMBOLS="0") as opened:
        opened.backfill("market_data", source=Bars(ALL, "1"))
        assert opened.backfill("market_data", source=Bars(ALL, "2")).held == 0
    with given(HOLD_SYMBOLS="3", HOLD_SHARE="0.15") as opened:
        assert opened.backfill("market_data", source=Bars(FEW, "3")).held == 1
    with given(HOLD_SYMBOLS="3", HOLD_SHARE="0.16") as opened:
        assert opened.backfill("market_data", source=Bars(FEW, "4")).held == 0
        assert closes(opened) == {2: 17, 4: 3}


@pytest.mark.parametrize("archived", ["true", "false"])
def test_a_day_that_is_hot_and_published_stays_as_it_is_until_the_restatement_is_accepted(home, new_database, archived):
    environ = {"THERMOCLINE_HOT_URL": new_database("embedded")}
    environ["THERMOCLINE_STORAGE__LIFECYCLE__ARCHIVE_ON_BACKFILL"] = archived
    with thermocline.open(settings=load_settings(home, environ=environ)) as opened:
        opened.backfill("market_data", source=Bars(ALL, "1"), as_of=LATER)
        opened.load_hot(as_of=DAY)
        assert opened.backfill("market_data", source=Bars(MANY, "2"), as_of=DAY + timedelta(days=2)).held == 1
        assert closes(opened) == {1: 20}
        opened.accept("market_data")
        assert closes(opened) == {1: 8, 2: 12}
        moved = opened.rotate(as_of=LATER).moved
        assert [each.rows for each in moved] == [20]
        assert states(opened) == [(1, "published", False), (2, "published", True)]
        assert closes(opened) == {1: 8, 2: 12}
        whole(opened)


# --------------------------------------------------------------------------------------------------------------- ingest


@pytest.mark.parametrize("is_hot", [False, True])
def test_live_rows_that_restate_many_symbols_are_held_and_others_accepted(opened, is_hot):
    if is_hot:
        opened.load_hot(as_of=DAY)
    fresh = bars(["NEW"], "9", LATER)
    done = opened.ingest("market_data", pa.concat_tables([bars(MANY, "2"), bars(FEW, "2", NEXT), fresh]), as_of=LATER)
    assert (done.hot_rows + done.late_rows, done.held_rows) == (4, 12)
    assert [(moved.partition.day, moved.action, moved.rows) for moved in done.held] == [(DAY, "held", 20)]
    assert closes(opened) == {1: 20}
    assert closes(opened, NEXT) == {1: 17, 2: 3}
    assert closes(opened, LATER) == {9: 1}
    again = opened.ingest("market_data", bars(MANY, "2"), as_of=LATER)
    assert (again.held, len(states(opened))) == (done.held, 2)
    assert opened.accept("market_data").failed == []
    assert closes(opened) == {1: 8, 2: 12}
    opened.rotate(as_of=LATER + timedelta(days=90))
    assert closes(opened) == {1: 8, 2: 12}
    whole(opened)


def test_live_rows_that_were_accepted_on_purpose_are_accepted_again(opened):
    assert opened.ingest("market_data", bars(MANY, "2"), accept_restatements=True).late_rows == 12
    assert closes(opened) == {1: 8, 2: 12}
    assert opened.ingest("market_data", bars(MANY, "2")).held == []
    assert closes(opened) == {1: 8, 2: 12}


def test_a_file_whose_rows_come_in_pieces_is_looked_at_as_a_whole(opened, tmp_path):
    for number, symbols in enumerate((MANY[:6], MANY[6:])):
        pa.csv.write_csv(bars(symbols, "2"), tmp_path / f"{number}.csv")
    done = opened.ingest("market_data", str(tmp_path / "*.csv"))
    assert (done.held_rows, done.late_rows) == (12, 0)
    assert closes(opened) == {1: 20}


def test_a_rotation_folds_many_changes_that_came_one_by_one(opened):
    for symbol in ALL:
        opened.ingest("market_data", bars([symbol], "2"))
    assert closes(opened) == {2: 20}
    assert [moved.action for moved in opened.rotate(as_of=LATER).moved] == ["fold"]
    assert closes(opened) == {2: 20}
    assert opened.vintages("market_data", states=["held"]) == []


def test_a_program_that_saves_rows_means_what_it_says(opened):
    opened.save("market_data", bars(MANY, "2"))
    assert closes(opened) == {1: 8, 2: 12}


# ---------------------------------------------------------------------------------------------------- accept and reject


def test_accepting_publishes_the_very_object_that_was_held(opened):
    [held] = opened.backfill("market_data", source=Bars(MANY, "2")).moved
    before = datetime.now(UTC)
    [accepted] = opened.accept("market_data").moved
    assert (accepted.action, accepted.path) == ("accepted", held.path)
    assert closes(opened) == {1: 8, 2: 12}
    assert states(opened) == [(1, "published", False), (2, "published", True)]
    assert closes(opened, as_of_vintage=before) == {1: 20}
    assert opened.accept("market_data").moved == []
    whole(opened)


def test_rejecting_leaves_what_is_live_and_tells_the_lake(opened):
    [held] = opened.backfill("market_data", source=Bars(MANY, "2")).moved
    [rejected] = opened.reject("market_data").moved
    assert (rejected.action, rejected.path) == ("rejected", held.path)
    assert closes(opened) == {1: 20}
    assert states(opened) == [(1, "published", True), (2, "rejected", False)]
    assert journal(opened) == [(Event.HOLD, 2), (Event.REJECT, 2)]
    assert (opened.accept("market_data").moved, opened.reject("market_data").moved) == ([], [])
    opened.backfill("market_data", source=Bars(FEW, "5"))
    assert states(opened)[-1] == (3, "published", True)
    whole(opened)


def test_a_day_that_was_published_anew_since_is_merged_by_what_was_ingested_later(opened):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    opened.backfill("market_data", source=Bars([*FEW, "NEW"], "7"))
    assert states(opened) == [(1, "published", False), (2, "held", False), (3, "published", True)]
    [accepted] = opened.accept("market_data").moved
    assert accepted.path.endswith("_v4.parquet")
    assert closes(opened) == {1: 8, 2: 9, 7: 4}
    assert states(opened)[1:] == [(2, "rejected", False), (3, "published", False), (4, "published", True)]
    whole(opened)


def test_several_restatements_of_a_day_go_one_after_the_other_or_alone(opened):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    opened.backfill("market_data", source=Bars(ALL[5:], "3"))
    opened.backfill("market_data", source=Bars(ALL, "4"))
    assert [moved.path[-11:-8] for moved in opened.reject("market_data", version=4).moved] == ["_v4"]
    assert [moved.action for moved in opened.accept("market_data").moved] == ["accepted", "accepted"]
    assert closes(opened) == {2: 5, 3: 15}
    whole(opened)


def test_what_is_live_by_now_is_not_published_again(opened):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    opened.backfill("market_data", source=Bars(MANY, "2"), accept_restatements=True)
    assert [moved.action for moved in opened.accept("market_data").moved] == ["unchanged"]
    assert states(opened) == [(1, "published", False), (2, "rejected", False), (3, "published", True)]
    assert closes(opened) == {1: 8, 2: 12}
    whole(opened)


def test_a_held_object_that_is_not_good_stays_held_and_others_are_accepted(opened, home):
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    [path] = (home / "lake").rglob("market_data_1day_20240115_v2.parquet")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(body)
    done = opened.accept("market_data")
    assert [failed.partition.day for failed in done.failed] == [DAY]
    assert "it stays held" in done.failed[0].reason
    assert [moved.partition.day for moved in done.moved] == [NEXT]
    assert (closes(opened), closes(opened, NEXT)) == ({1: 20}, {1: 8, 2: 12})
    assert states(opened)[-1] == (2, "held", False)


def test_only_the_days_and_intervals_that_are_named_are_accepted(opened):
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    assert opened.accept("market_data", intervals=["1min"]).moved == []
    assert [moved.partition.day for moved in opened.accept("market_data", start=NEXT).moved] == [NEXT]
    assert (closes(opened), closes(opened, NEXT)) == ({1: 20}, {1: 8, 2: 12})


# ----------------------------------------------------------------------------------------------------------------- diff


def test_a_held_restatement_is_compared_with_what_is_live_and_else_the_last_two(opened):
    with pytest.raises(UsageError, match="version 1 of market_data/1day/2024-01-15 has no other"):
        opened.diff("market_data", DAY)
    opened.backfill("market_data", source=Bars([*FEW, "NEW"], "3"))
    comparison = opened.diff("market_data", DAY)
    assert (comparison.old.receipt.version, comparison.new.receipt.version) == (1, 2)
    assert comparison.counts() == ChangeCounts(1, 0, 3, 3)
    opened.backfill("market_data", source=Bars(MANY, "2"))
    comparison = opened.diff("market_data", DAY)
    assert (comparison.old.receipt.version, comparison.new.receipt.version) == (2, 3)
    assert comparison.counts() == ChangeCounts(0, 0, 12, 12)
    assert comparison.to_arrow()["column"].unique().to_pylist() == ["open", "high", "low", "close"]
    opened.accept("market_data")
    assert opened.diff("market_data", DAY).document() == comparison.document() | {
        "from": opened.diff("market_data", DAY).old.document(),
        "to": opened.diff("market_data", DAY).new.document(),
    }
    back = opened.diff("market_data", DAY, interval="1day", from_version=3, to_version=1)
    assert back.counts() == ChangeCounts(0, 1, 12, 12)


def test_a_comparison_of_what_is_not_there_says_what_is(opened):
    with pytest.raises(UsageError, match="has no version 7; there are 1"):
        opened.diff("market_data", DAY, to_version=7)
    with pytest.raises(UsageError, match="was never in the lake"):
        opened.diff("market_data", LATER)
    opened.backfill("market_data", source=Bars(MANY, "2"))
    [rejected] = opened.reject("market_data").moved
    assert opened.diff("market_data", DAY, to_version=2).counts() == ChangeCounts(0, 0, 12, 12)
    opened.lake.delete(rejected.path)
    with pytest.raises(LakeError, match="was rejected, and its object has been deleted"):
        opened.diff("market_data", DAY, to_version=2)
    opened.backfill("market_data", source=Minutes())
    with pytest.raises(UsageError, match="is there at 1day, 1min; name one with --interval"):
        opened.diff("market_data", DAY)


class Minutes(Bars):
    """The same at another interval."""

    def __init__(self):
        """Make the rows."""
        made = bars(FEW, "1")
        self.rows = made.set_column(2, "interval", pa.array(["1min"] * len(made)))


class StoppedError(Exception):
    """The process died here."""


def stopped_at(point):
    def listen(reached):
        if reached == point:
            raise StoppedError

    return listening(listen)


@pytest.mark.parametrize("point", ["hold:before", "hold:committing", "hold:after", "journal:before", "journal:after"])
def test_a_run_that_dies_while_it_holds_is_made_good_by_the_next(opened, point):
    with stopped_at(point), pytest.raises(StoppedError):
        opened.backfill("market_data", source=Bars(MANY, "2"))
    assert closes(opened) == {1: 20}
    assert opened.backfill("market_data", source=Bars(MANY, "2")).held == 1
    assert len(opened.vintages("market_data", states=["held"])) == 1
    opened.accept("market_data")
    assert closes(opened) == {1: 8, 2: 12}
    whole(opened)


@pytest.mark.parametrize(
    "point", ["journal:after", "commit:after", "accept:before", "publish:committing", "accept:after"]
)
def test_an_accept_that_dies_can_be_repeated(opened, point):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    with stopped_at(point), pytest.raises(StoppedError):
        opened.accept("market_data")
    assert closes(opened) in ({1: 20}, {1: 8, 2: 12})
    opened.accept("market_data")
    assert closes(opened) == {1: 8, 2: 12}
    opened.backfill("market_data", source=Bars(["NEW"], "3"))
    assert closes(opened) == {1: 8, 2: 12, 3: 1}
    whole(opened)


@pytest.mark.parametrize("point", ["reject:before", "reject:committing", "reject:after"])
def test_a_reject_that_dies_can_be_repeated(opened, point):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    with stopped_at(point), pytest.raises(StoppedError):
        opened.reject("market_data")
    opened.reject("market_data")
    assert states(opened) == [(1, "published", True), (2, "rejected", False)]
    assert closes(opened) == {1: 20}


def test_rows_that_can_not_be_compared_are_refused_whole(opened, home):
    [path] = (home / "lake").rglob("market_data_1day_20240115.parquet")
    path.unlink()
    with pytest.raises(LakeError):
        opened.ingest("market_data", pa.concat_tables([bars(MANY, "2"), bars(FEW, "2", NEXT)]))
    assert closes(opened, NEXT) == {1: 20}
    assert opened.ingest("market_data", bars(FEW, "2")).late_rows == 3


def test_what_became_of_held_restatements_survives_the_loss_of_the_database(opened, home, new_database):
    third, fourth = date(2024, 1, 17), date(2024, 1, 18)
    opened.backfill("market_data", source=Bars(ALL, "1", third, fourth))
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT, third, fourth))
    opened.backfill("market_data", source=Bars(FEW, "7", fourth))
    opened.accept("market_data", start=NEXT, end=third)
    opened.reject("market_data", start=third, end=fourth)
    opened.accept("market_data", start=fourth)

    def history(tc):
        return [(v.receipt, v.state, v.reason, v.is_live) for v in tc.vintages("market_data")]

    settings = load_settings(home, environ={"THERMOCLINE_HOT_URL": new_database("embedded")})
    with thermocline.open(settings=settings) as again:
        again.recover(["market_data"])
        assert history(again) == history(opened)
        assert (closes(again), closes(again, NEXT), closes(again, third)) == ({1: 20}, {1: 8, 2: 12}, {1: 20})
        assert closes(again, fourth) == {1: 8, 2: 9, 7: 3}
        again.accept("market_data")
        assert closes(again) == {1: 8, 2: 12}
        whole(again)


def test_a_restatement_of_a_day_in_a_compacted_month_leaves_the_other_days_as_they_are(opened):
    before = datetime.now(UTC)
    [month] = opened.compact(["market_data"], as_of=date(2024, 4, 1)).periods
    assert month.path.endswith("market_data_1day_202401.parquet")
    opened.backfill("market_data", source=Bars(MANY, "2"))
    assert (closes(opened), closes(opened, NEXT)) == ({1: 20}, {1: 20})
    assert opened.diff("market_data", DAY).counts() == ChangeCounts(0, 0, 12, 12)
    whole(opened)
    assert [moved.action for moved in opened.accept("market_data").moved] == ["accepted"]
    assert (closes(opened), closes(opened, NEXT)) == ({1: 8, 2: 12}, {1: 20})
    assert (closes(opened, as_of_vintage=before), closes(opened, NEXT, as_of_vintage=before)) == ({1: 20}, {1: 20})
    assert opened.diff("market_data", DAY).counts() == ChangeCounts(0, 0, 12, 12)
    whole(opened)


def test_several_days_of_one_compacted_month_may_be_rejected_or_accepted_at_once(opened):
    opened.compact(["market_data"], as_of=date(2024, 4, 1))
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    assert [moved.partition.day for moved in opened.reject("market_data").moved] == [DAY, NEXT]
    whole(opened)
    opened.backfill("market_data", source=Bars(MANY, "3", DAY, NEXT))
    assert len(opened.accept("market_data").moved) == 2
    assert (closes(opened), closes(opened, NEXT)) == ({1: 8, 3: 12}, {1: 8, 3: 12})
    whole(opened)


# ---------------------------------------------------------------------------------------------------------- the command


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, f"{arguments}\n{result.output}\n{result.exception!r}"
    return result


def answer(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code).stdout)


@pytest.mark.usefixtures("home")
def test_the_command_holds_shows_accepts_and_rejects(tmp_path, new_database, monkeypatch):
    monkeypatch.setenv("THERMOCLINE_HOT_URL", new_database("embedded"))
    files = {}
    for name, table in {"old": bars(ALL, "1"), "new": bars(MANY, "2"), "newer": bars(MANY, "3")}.items():
        files[name] = tmp_path / f"{name}.csv"
        pa.csv.write_csv(table, files[name])

    def backfill(name, *more):
        return run("backfill", "market_data", "--source", "files", "--path", files[name], *more)

    backfill("old")
    told = backfill("new")
    assert "0 partitions written, 0 unchanged, 1 partition held." in told.stdout
    assert "thermocline accept market_data" in told.stderr
    [held] = answer("vintages", "market_data", "--state", "held")["vintages"]
    assert (held["version"], held["live"], held["day"], held["rows"]) == (2, False, "2024-01-15", 20)
    assert "12 of 20 symbols changed" in run("vintages", "market_data").stdout
    published = answer("vintages", "market_data")["vintages"][0]["published"]
    query = ("query", "market_data", "--columns", "symbol,close", "--limit", "1")
    assert answer(*query)["rows"][0]["close"] == "1.00000000"
    assert [each["held_partitions"] for each in answer("status", "market_data")["datasets"]] == [1]
    different = answer("diff", "market_data", "2024-01-15")
    assert different["counts"] == {"rows_added": 0, "rows_removed": 0, "rows_changed": 12, "symbols_changed": 12}
    assert [different[side]["version"] for side in ("from", "to")] == [1, 2]
    assert len(different["rows"]) == 48
    assert different["rows"][0] | {"ts": ""} == {
        "change": "changed", "asset_class": "equity", "symbol": "S00", "interval": "1day", "ts": "",
        "column": "open", "before": "1.00000000", "after": "2.00000000",
    }  # fmt: skip
    shown = run("diff", "market_data", "2024-01-15").stdout
    assert "version 1 to version 2 (held): 0 rows added, 0 removed, 12 changed (12 symbols)." in shown
    written = answer("diff", "market_data", "2024-01-15", "--output", tmp_path / "changes.csv")
    assert (written["row_count"], len((tmp_path / "changes.csv").read_text().splitlines())) == (48, 49)
    assert "1 restatement live now." in run("accept", "market_data").stdout
    assert answer(*query)["rows"][0]["close"] == "2.00000000"
    assert answer(*query, "--as-of-vintage", published)["rows"][0]["close"] == "1.00000000"
    counted = "select count(*) as n, max(close) as high from market_data"
    assert answer("sql", counted, "--as-of-vintage", published)["rows"] == [{"n": 20, "high": "1.00000000"}]
    assert answer("explain", "market_data", "--as-of-vintage", published)["segments"][0]["files"] == [
        "cold_storage/market_data/year=2024/month=01/day=15/market_data_1day_20240115.parquet"
    ]
    assert answer("ingest", "market_data", files["newer"])["held_rows"] == 12
    assert [each["action"] for each in answer("reject", "market_data")["partitions"]] == ["rejected"]
    assert "Nothing is held there." in run("accept", "market_data").stdout
    assert answer(*query)["rows"][0]["close"] == "2.00000000"
    backfill("newer", "--accept-restatements")
    assert answer(*query)["rows"][0]["close"] == "3.00000000"
    assert Decimal(answer("sql", counted)["rows"][0]["high"]) == 3


def test_a_day_that_is_still_being_formed_is_never_held(opened):
    opened.backfill("market_data", source=Bars(MANY, "1"), as_of=NEXT)
    opened.load_hot(as_of=NEXT)
    assert opened.backfill("market_data", source=Bars(MANY, "2"), as_of=NEXT).held == 0
    assert opened.ingest("market_data", bars(MANY, "3"), as_of=NEXT).held == []
    assert closes(opened) == {1: 8, 3: 12}
