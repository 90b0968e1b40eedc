"""The command holds, shows, compares, accepts and rejects."""

from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pytest
from cli_acts import answer, run
from restated import ALL, MANY, bars


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
