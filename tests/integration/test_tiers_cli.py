"""The commands `tiers show`, `plan`, `apply` and `simulate` on a real home with a lake on its disk."""

import pytest
from cli_acts import answer, run
from quick_server import created_quickly, lead_to

from thermocline.stores import embedded

SAMPLE = ("backfill", "market_data", "--source", "sample", "--start", "2013-01-02", "--end", "2013-02-02")
TODAY = ("--as-of", "2013-03-15")
STEPS = "THERMOCLINE_STORAGE__RETENTION__STEPS"
OVER = "THERMOCLINE_STORAGE__RETENTION__DELETE_AFTER_DAYS"


@pytest.fixture(scope="module")
def home(session_folder, stopped_cluster):
    """A home with daily bars in its lake, for all of these tests."""
    home = session_folder / "tiers"
    with pytest.MonkeyPatch.context() as patch, created_quickly(stopped_cluster):
        lead_to(home, patch)
        for command in (["show"], ["plan"], ["apply", "--yes"]):
            assert run("tiers", *command, *TODAY).stdout, "of an empty lake, too"
        assert "holds nothing of these" in run("tiers", "simulate", code=1).stderr
        run(*SAMPLE)
        yield home
        embedded.stop(home)


@pytest.mark.usefixtures("home")
def test_days_whose_retention_is_over_are_shown_and_just_they_go(monkeypatch):
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
    assert "saves a month" in refused.stdout
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


@pytest.mark.usefixtures("home")
def test_nothing_goes_before_its_time_though_a_plan_may_look_ahead(monkeypatch):
    monkeypatch.setenv(OVER, "20000")
    ahead = ("--as-of", "2099-01-01")
    planned = answer("tiers", "plan", *ahead)
    assert planned["removals"] != []
    for agreed in ("--yes",), ("--digest", planned["digest"]):
        assert "is in the future" in answer("tiers", "apply", *agreed, *ahead, code=2)["error"]["message"]
    assert answer("tiers", "plan", *ahead) == planned


@pytest.mark.usefixtures("home")
def test_what_is_due_for_the_other_class_of_a_folder_is_written_anew_once(monkeypatch):
    late = ("--as-of", "2014-01-01")
    monkeypatch.setenv(STEPS, '{"90": "COMPRESSED"}')
    assert {left["reason"] for left in answer("tiers", "plan", *late)["left"]} == {"compact first"}
    monkeypatch.delenv(STEPS)  # or what compaction writes would be there at once
    run("compact", *late)
    monkeypatch.setenv(STEPS, '{"90": "COMPRESSED"}')
    done = answer("tiers", "apply", "--yes", *late)
    assert {(move["from"], move["to"]) for move in done["transitions"]} == {("WARM", "COMPRESSED")}
    assert len(done["transitions"]) == len(answer("audit", "--act", "transition")["acts"])
    assert answer("tiers", "apply", "--yes", *late)["transitions"] == []
    assert [each["class"] for each in answer("tiers", "show", *late)["classes"]] == ["COMPRESSED"]
    assert len(answer("query", "market_data", "--end", "2014-01-01")["rows"]) > 0
    assert run("verify", "market_data").exit_code == 0


def test_what_it_will_cost_is_a_table_and_a_picture(home):
    for name in ("costs.svg", "costs.html"):
        shown = run("tiers", "simulate", "--years", "2", *TODAY, "--output", name)
        assert "all in PostgreSQL" in shown.stdout
        assert "<svg" in (home.parent / name).read_text()
    simulated = answer("tiers", "simulate", "--years", "2", "--growth", "0.5", *TODAY)
    assert len(simulated["months"]) == 24
    assert simulated["total_usd"]["postgres"] > simulated["total_usd"]["policy"] > 0
    assert "end in .svg or .html" in run("tiers", "simulate", "--output", "costs.png", code=2).output
