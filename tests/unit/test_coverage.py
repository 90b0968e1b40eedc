"""The table of decisions of the coverage ledger, and how it is kept: docs/guide/coverage.md has it in words."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.model.coverage.report import looked_at
from thermocline.model.coverage.states import Findings, Series, State, cover_of, nothing_known, runs_of, updated
from thermocline.model.partition import DayRange
from thermocline.model.sessions import Expectation, number_of

DAY = date(2024, 1, 1)
SERIES = Series("market_data", "equity", "AAPL", "1min")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
NONE = np.zeros(0, np.int64)


def expecting(counts):
    days = np.arange(number_of(DAY), number_of(DAY) + len(counts)) * 86_400
    wanted = np.array(counts)
    return Expectation(
        number_of(DAY),
        wanted,
        np.where(wanted > 0, days + 50_000, -1),
        np.where(wanted > 0, days + 75_000, -1),
        *[NONE] * 3,
    )


def found(rows, answered=(), quarantined=(), *, source="alpaca", failed="", first=0):
    masks = [np.isin(np.arange(len(rows)), list(chosen)) for chosen in (answered, quarantined)]
    return Findings(number_of(DAY) + first, np.array(rows), *masks, source, failed)


def states(cover, expected):
    days = DayRange(DAY, DAY + timedelta(days=len(expected.counts)))
    seen = looked_at(cover, expected, "XNYS", days, NOW)
    return [seen.state_of(day) for day in days]


@pytest.mark.parametrize(
    ("expected", "rows", "told", "state"),
    [
        (390, 390, "", State.COMPLETE),
        (390, 400, "", State.COMPLETE),
        (0, 3, "", State.COMPLETE),  # bars on a day without a session
        (390, 10, "", State.PARTIAL),
        (390, 10, "answered", State.PARTIAL),
        (390, 10, "quarantined", State.PARTIAL),
        (390, 0, "quarantined", State.QUARANTINED),
        (390, 0, "answered", State.VENDOR_MISSING),
        (390, 0, "", State.PENDING),
        (390, 0, "failed", State.PENDING),
        (0, 0, "", None),
        (0, 0, "answered", None),  # a holiday needs nobody to confirm it
    ],
)
def test_a_day_is_in_the_state_that_the_table_says(expected, rows, told, state):
    # The first day is complete, so that the second is not one before the instrument was there.
    wanted = expecting([390, expected])
    chosen = {name: [1] for name in ("answered", "quarantined") if name == told}
    cover = updated(nothing_known(SERIES), found([390, rows], **chosen, failed="503" * (told == "failed")), wanted, NOW)
    assert states(cover, wanted)[1] is state


def test_days_before_the_first_row_are_empty_once_a_source_has_told_all_of_them():
    wanted = expecting([390] * 5)
    cover = updated(nothing_known(SERIES), found([0, 0, 0, 390, 0], answered=[1, 2, 4]), wanted, NOW)
    assert states(cover, wanted) == [State.PENDING, State.EMPTY, State.EMPTY, State.COMPLETE, State.VENDOR_MISSING]
    earlier = updated(cover, found([390, 0]), wanted, NOW)
    assert states(earlier, wanted)[:3] == [State.COMPLETE, State.VENDOR_MISSING, State.VENDOR_MISSING]


def test_without_a_calendar_a_day_is_empty_where_a_source_has_told_all():
    cover = updated(nothing_known(SERIES), found([0, 2, 0], answered=[0]), None, NOW)
    assert [(run.state, run.start, run.rows) for run in runs_of(cover, None)] == [
        (State.EMPTY, DAY, 0),
        (State.COMPLETE, DAY + timedelta(days=1), 2),
    ]


def test_nothing_is_missing_of_a_session_that_is_not_over():
    wanted, during = expecting([390, 390]), datetime(2024, 1, 2, 16, tzinfo=UTC)
    cover = updated(nothing_known(SERIES), found([390, 0], answered=[0, 1]), wanted, during)
    seen = looked_at(cover, wanted, "XNYS", DayRange(DAY, DAY + timedelta(days=2)), during)
    assert (seen.bars_missing, seen.dates()) == (0, [])
    later = looked_at(cover, wanted, "XNYS", DayRange(DAY, DAY + timedelta(days=2)), NOW)
    assert (later.bars_missing, later.dates()) == (390, [date(2024, 1, 2)])


def test_every_source_that_had_nothing_is_remembered_until_rows_come():
    wanted = expecting([390, 390])
    cover = updated(nothing_known(SERIES), found([390, 0], answered=[1], source="massive"), wanted, NOW)
    cover = updated(cover, found([390, 0], answered=[1], source="alpaca"), wanted, NOW)
    [_, missing] = runs_of(cover, wanted)
    assert (missing.state, missing.told.sources) == (State.VENDOR_MISSING, ("alpaca", "massive"))
    [complete] = runs_of(updated(cover, found([390, 390]), wanted, NOW), wanted)
    assert (complete.state, complete.told.sources) == (State.COMPLETE, ())


def test_five_years_without_a_hole_are_one_run():
    wanted = expecting([390 * (day % 7 < 5) for day in range(1826)])
    cover = updated(nothing_known(SERIES), found(wanted.counts), wanted, NOW)
    [run] = runs_of(cover, wanted)
    assert (run.rows, run.counts) == (int(wanted.counts.sum()), None)


def test_a_year_of_which_every_other_day_lacks_a_bar_is_one_run_and_still_told_day_by_day():
    wanted = expecting([390] * 365)
    cover = updated(nothing_known(SERIES), found([389, 390] * 182 + [389]), wanted, NOW)
    [run] = runs_of(cover, wanted, coarse=True)
    assert (run.state, run.expected - run.rows) == (State.PARTIAL, 183)
    assert states(cover_of(SERIES, [run], wanted), wanted) == [State.PARTIAL, State.COMPLETE] * 182 + [State.PARTIAL]


@given(st.data())
def test_what_the_ledger_keeps_is_what_was_found_out(data):
    wanted = expecting(data.draw(st.lists(st.sampled_from([0, 0, 1, 390]), min_size=1, max_size=30)))
    size = len(wanted.counts)
    cover = nothing_known(SERIES)
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, size - 1))
        rows = data.draw(st.lists(st.sampled_from([0, 0, 1, 200, 390]), min_size=1, max_size=size - first))
        places = st.sets(st.integers(0, len(rows) - 1))
        source = data.draw(st.sampled_from("ab"))
        findings = found(rows, data.draw(places), data.draw(places), source=source, first=first)
        cover = updated(cover, findings, wanted, NOW)
    kept = cover_of(SERIES, runs_of(cover, wanted, coarse=data.draw(st.booleans())), wanted)
    assert states(kept, wanted) == states(cover, wanted)
    assert runs_of(kept, wanted) == runs_of(cover, wanted)
    assert kept.rows.sum() == cover.rows.sum()
