"""The commands `tiers show`, `plan`, `apply` and `simulate` on a real home with a lake on its disk."""

import json

import pytest
from click.testing import CliRunner

from thermocline.cli import main

SAMPLE = ("backfill", "market_data", "--source", "sample", "--start", "2013-01-01", "--end", "2013-03-01")
TODAY = ("--as-of", "2013-03-15")
OVER = "THERMOCLINE_STORAGE__RETENTION__DELETE_AFTER_DAYS"


def run(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(main, list(arguments), input=stdin)
    assert result.exit_code == code, f"{arguments}\n{result.output}\n{result.exception!r}"
    return result


def answer(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code).stdout)


def test_the_commands_say_what_is_due_and_do_just_that(home, monkeypatch):
    del home
    assert "holds nothing of these" in run("tiers", "simulate", code=1).stderr
    run(*SAMPLE)
    shown = answer("tiers", "show", *TODAY)
    days = shown["objects"]
    assert [(each["dataset"], each["class"]) for each in shown["classes"]] == [("market_data", "WARM")]
    assert shown["bytes"] > 0 < shown["usd_per_month"]
    assert "No retention is set" in run("tiers", "show", *TODAY).stdout
    assert "No retention is set" in run("tiers", "apply", "--yes", *TODAY).stdout

    monkeypatch.setenv(OVER, "60")
    planned = answer("tiers", "plan", *TODAY)
    gone = [removal["last_day"] for removal in planned["removals"]]
    assert gone == sorted(gone) != []
    assert (max(gone), planned["transitions"]) == ("2013-01-14", [])

    # Nobody is asked in a pipe, nothing is done without a yes, and no other plan than the one that was shown.
    assert "add --yes, or --digest" in run("tiers", "apply", *TODAY, "--json", code=2).output
    refused = run("tiers", "apply", *TODAY, stdin="n\n")
    assert "FOR GOOD" in refused.stdout
    assert "Nothing was changed." in refused.stdout
    drifted = answer("tiers", "apply", *TODAY, "--digest", "0123456789abcdef", code=1)
    assert drifted["error"]["type"] == "PlanDriftError"
    assert answer("tiers", "plan", *TODAY) == planned

    done = answer("tiers", "apply", *TODAY, "--digest", planned["digest"])
    assert [removal["path"] for removal in done["removals"]] == [each["path"] for each in planned["removals"]]
    assert (done["failed"], done["digest"]) == ([], planned["digest"])
    assert answer("tiers", "show", *TODAY)["objects"] == days - len(gone)
    assert answer("query", "market_data", "--end", "2013-01-15", "--json")["rows"] == []
    assert answer("tiers", "apply", "--yes", *TODAY)["removals"] == []
    assert answer("audit", "--act", "retire")["acts"][0]["detail"]["withdrawn"]

    again = run(*SAMPLE, *TODAY)
    assert "is over, market_data/1day/2013-01-02 to market_data/1day/2013-01-14" in again.stderr
    assert answer("tiers", "plan", *TODAY)["removals"] != []


def test_what_it_will_cost_is_a_table_and_a_picture(home):
    run(*SAMPLE)
    for name in ("costs.svg", "costs.html"):
        shown = run("tiers", "simulate", "--years", "2", *TODAY, "--output", name)
        assert "all in PostgreSQL" in shown.stdout
        assert "<svg" in (home.parent / name).read_text()
    simulated = answer("tiers", "simulate", "--years", "2", "--growth", "0.5", *TODAY)
    assert len(simulated["months"]) == 24
    assert simulated["total_usd"]["postgres"] > simulated["total_usd"]["policy"] > 0
    assert "end in .svg or .html" in run("tiers", "simulate", "--output", "costs.png", code=2).output


@pytest.mark.parametrize("command", ["show", "plan", "apply"])
def test_a_lake_with_nothing_in_it_says_so(home, command):
    del home
    yes = ["--yes"] if command == "apply" else []
    assert run("tiers", command, *yes, *TODAY).stdout
