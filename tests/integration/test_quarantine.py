"""The quarantine from the shell: rows that may not go in, seen, released and dropped."""

import json

from click.testing import CliRunner

from thermocline.cli import main

HEADER = "asset_class,symbol,interval,ts,open,high,low,close,volume\n"
GOOD = "equity,GOOD,1day,2013-01-0{},1,2,0.5,1.5,10\n"
LOW = "equity,LOW,1day,2013-01-03,1,2,1.75,1.5,10\n"
NEGATIVE = "equity,NEG,1day,2013-01-03,1,2,0.5,1.5,-10\n"


def test_rows_go_from_the_quarantine_in_or_out_by_what_is_said_of_them(home, tmp_path):
    def run(*words, code=0, answer=""):
        result = CliRunner().invoke(main, ["--home", str(home), *words], input=answer)
        assert result.exit_code == code, result.output
        return result

    def told(*words):
        return json.loads(run(*words, "--json").stdout)

    file = tmp_path / "bars.csv"
    file.write_text(HEADER + GOOD.format(3) + LOW + NEGATIVE)
    ingested = run("ingest", "market_data", str(file), "--source-name", "desk")
    assert "2 rows may not go in (ohlc 1, volume 1); see `thermocline quarantine list market_data`" in ingested.stderr
    assert {(group["rules"][0], group["rows"]) for group in told("quarantine", "list")["groups"]} == {
        ("ohlc", 1),
        ("volume", 1),
    }
    (low,) = told("quarantine", "show", "market_data", "--rule", "ohlc")["rows"]
    assert (low["record"]["symbol"], low["source"], low["reason"]) == (
        "LOW",
        "desk",
        "breaks ohlc: low is the lowest and high the highest of its prices",
    )
    number = str(low["id"])
    assert "stays in quarantine" in run("quarantine", "release", "--id", number, "--yes").stdout
    planned = run("quarantine", "release", "--id", number, "--accept", answer="n\n")
    assert "1 row of market_data would be released." in planned.stdout
    assert "Nothing was changed." in planned.stdout
    assert len(told("query", "market_data")["rows"]) == 1
    run("quarantine", "release", "--id", number, "--accept", "--reason", "checked", "--yes")
    assert {row["symbol"] for row in told("query", "market_data")["rows"]} == {"GOOD", "LOW"}
    unknown = run("quarantine", "drop", "--id", number, "--id", "999", "--reason", "x", "--yes", code=2).stderr
    assert f"row {number} is one of market_data that is released" in unknown
    assert "no row in quarantine has the id 999; nothing was changed" in unknown
    run("quarantine", "release", "--id", "999", "--dry-run", code=2)
    run("quarantine", "show", "--id", "999", "--json", code=2)
    run("quarantine", "drop", "--rule", "volume", "--reason", "typing error", "--yes")
    run("ingest", "market_data", str(file), "--source-name", "desk")
    assert told("quarantine", "list")["rows"] == 0
    assert run("quarantine", "list").stdout == "There are no kept rows in quarantine.\n"
    shown = run("quarantine", "show").stdout
    assert "typing error" in shown
    assert "checked" in shown
    acts = [act["act"] for act in told("audit", "market_data")["acts"]]
    assert {"quarantine-release", "quarantine-drop"} <= set(acts)
    assert told("quarantine", "purge", "--before", "2999-01-01", "--yes") == {"rows": 2}
    run("quarantine", "release", "--yes", code=2)
    assert "no rule is called 'nope'" in run("quarantine", "list", "--rule", "nope", code=2).stderr
    run("quarantine", "drop", "market_data", "--reason", "x", "--json", code=2)
    assert {"dataset": "market_data", "rule": "ohlc"}.items() <= next(
        rule for rule in told("quarantine", "rules")["rules"] if rule["rule"] == "ohlc"
    ).items()


def test_a_batch_of_too_many_bad_rows_leaves_what_is_published_as_it_was(home, tmp_path):
    def run(*words):
        return CliRunner().invoke(main, ["--home", str(home), *words])

    backfill = ("backfill", "market_data", "--source", "files", "--as-of", "2014-01-01", "--path")
    good = tmp_path / "good.csv"
    good.write_text(HEADER + "".join(GOOD.format(day) for day in range(1, 10)))
    assert run(*backfill, str(good)).exit_code == 0
    before = run("query", "market_data", "--json").stdout
    bad = tmp_path / "bad.csv"
    lines = [f"equity,S{number},1day,2013-01-03,1,2,0.5,9,10\n" for number in range(150)]
    bad.write_text(HEADER + GOOD.format(3).replace("1.5", "1.75") * 1 + "".join(lines))
    result = run(*backfill, str(bad))
    assert result.exit_code == 1
    assert "150 of 151 rows may not go in (ohlc 150), more than the 20% that market_data allows" in result.stderr
    assert run("query", "market_data", "--json").stdout == before
    assert json.loads(run("quarantine", "list", "--json").stdout)["rows"] == 150
    assert run(*backfill, str(bad), "--max-bad-share", "1").exit_code == 0
    assert run("query", "market_data", "--json").stdout != before
    warned = run(*backfill, str(bad), "--strictness", "warn")
    assert "some rows that went in break a rule: ohlc 150" in warned.stderr
