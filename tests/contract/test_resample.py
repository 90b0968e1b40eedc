"""Bars of a coarser size are those that a slow loop over sessions makes, over every hot tier."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise

import exchange_calendars
import pandas as pd
import pyarrow as pa
import pytest
from hot_acts import ingest, publish
from made_rows import NOON

from thermocline.errors import UsageError
from thermocline.model.calendars import CalendarRules
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import Partition, partitions_of, rows_of
from thermocline.model.query import Query
from thermocline.model.resampling import Resampling
from thermocline.sources.calendars import ExchangeCalendars
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks import resample as task
from thermocline.tasks.resample import resample

CALENDARS, RULES = ExchangeCalendars(), CalendarRules()
SYMBOLS = {"AAPL": "equity", "aapl": "equity", "BTC/USD": "crypto", "ES": "future", "EURUSD": "forex"}
NAMES = {"equity": "XNYS", "future": "CMES"}
PRICES = ("open", "high", "low", "close")


def hot_of(request):
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))


@pytest.fixture(params=["memory", "embedded", "external"])
def hot(request):
    return hot_of(request)


@pytest.fixture(params=["memory"])
def quick(request):
    return hot_of(request)


def minutes(start, end, symbol="AAPL", step=10, interval="10min"):
    """Bars around the clock with prices that are told apart, every seventh of them missing."""
    made = []
    at, number = start, 0
    while at < end:
        number += 1
        if number % 7:
            price = Decimal(100 + number % 89) / 4
            made.append(
                {
                    "asset_class": SYMBOLS.get(symbol, "equity"),
                    "symbol": symbol,
                    "interval": interval,
                    "ts": at,
                    "open": price,
                    "high": price + number % 5,
                    "low": price - number % 3,
                    "close": price + Decimal(number % 7) / 8,
                    "volume": None if number % 11 == 0 else float(number % 13 * 100),
                    "vwap": price + Decimal("0.125"),
                    "trade_count": number % 4,
                    "source": "made",
                    "ingested_at": NOON,
                }
            )
        at += timedelta(minutes=step)
    return made


def put(hot, lake, rows, hot_days=()):
    """Each day where it belongs."""
    table = pa.Table.from_pylist(rows, MARKET_DATA.arrow_schema).sort_by([(n, "ascending") for n in MARKET_DATA.sort])
    days = partitions_of(MARKET_DATA, table)
    parts = {day: rows_of(table, day).combine_chunks().to_batches()[0] for day in days}
    publish(hot, lake, *(part for day, part in parts.items() if day.day not in hot_days))
    chosen = [part for day, part in parts.items() if day.day in hot_days]
    if chosen:
        ingest(hot, *chosen, hot_days=[day for day in days if day.day in hot_days])


def answer(hot, lake, to, interval="10min", rules=RULES, **asked):
    options = {name: asked.pop(name) for name in ("align", "session") if name in asked}
    question = Resampling(Query(MARKET_DATA, **asked), interval, to, **options)
    with resample(hot, lake, question, CALENDARS, rules) as reader:
        return reader.read_all().to_pylist()


# ----------------------------------------------------------------------------------------------------- a slow reference


def sessions_of(asset_class, first, last):
    """Sessions as (date, open, close, the exchange's zone), from the package itself or by hand."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    if asset_class == "crypto":
        midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
        return [(at.date(), at, at + timedelta(days=1), "UTC") for at in midnights]
    if asset_class == "forex":
        five = [pd.Timestamp(f"{day} 17:00", tz="America/New_York") for day in days]
        pairs = [(before, at) for before, at in pairwise(five) if at.weekday() < 5]
        return [(at.date(), before.tz_convert("UTC"), at.tz_convert("UTC"), "UTC") for before, at in pairs]
    calendar = exchange_calendars.get_calendar(NAMES[asset_class], start="2022-01-01", end="2025-12-31")
    found = calendar.schedule.loc[str(first) : str(last)]
    zone = str(calendar.tz)
    short = pd.Timedelta(hours=1) if asset_class == "future" else pd.Timedelta(0)
    return [
        (
            at.date(),
            line.open,
            line.close - (short if line.close - line.open == pd.Timedelta(days=1) else 0 * short),
            zone,
        )
        for at, line in found.iterrows()
    ]


def reference(rows, to, step=None, align="session", session="regular"):
    """Bars of `step` (None: a session), a group a bar."""
    frame = pd.DataFrame(rows)
    groups = {}
    first, last = frame["ts"].min().date() - timedelta(days=3), frame["ts"].max().date() + timedelta(days=3)
    sessions = {name: sessions_of(name, first, last) for name in set(frame["asset_class"])}
    for row in rows:
        is_traded = any(opens <= row["ts"] < closes for _, opens, closes, _ in sessions[row["asset_class"]])
        for number, (day, opens, closes, zone) in enumerate(sessions[row["asset_class"]]):
            inside = opens <= row["ts"] < closes
            if not inside and (is_traded or session == "regular"):
                continue
            local = pd.Timestamp(row["ts"]).tz_convert(zone)
            if not inside and local.date() != day:
                continue
            part = "in" if inside else "before" if row["ts"] < opens else "after"
            origin = closes if part == "after" else opens
            if align == "clock":
                wall = local.tz_localize(None)
                origin = pd.Timestamp(row["ts"]) - (wall - wall.normalize())
            if step is None:
                opened = {"1day": day, "1week": day - timedelta(days=day.weekday()), "1month": day.replace(day=1)}[to]
                key = (pd.Timestamp(opened, tz="UTC"), row["asset_class"], row["symbol"])
            else:
                label = origin + (row["ts"] - origin) // step * step
                floor = {"in": opens, "after": closes, "before": label}[part]
                key = (max(label, floor), row["asset_class"], row["symbol"], number, part)
            groups.setdefault(key, []).append(row)
    return [_bar(to, key, pd.DataFrame(found).sort_values("ts")) for key, found in sorted(groups.items())]


def _bar(to, key, found):
    label, asset_class, symbol, *_ = key
    traded = found[found["volume"].notna()]
    weight = traded["volume"].sum()
    product = (traded["vwap"].astype(float) * traded["volume"]).sum()
    return {
        "asset_class": asset_class,
        "symbol": symbol,
        "interval": to,
        "ts": pd.Timestamp(label).tz_convert("UTC").to_pydatetime(),
        "open": found["open"].iloc[0],
        "high": found["high"].max(),
        "low": found["low"].min(),
        "close": found["close"].iloc[-1],
        "volume": weight if len(traded) else None,
        "vwap": product / weight if weight > 0 else None,
        "trade_count": found["trade_count"].sum(),
    }


def assert_same(found, expected):
    """Averages to six places: two ways to divide floats are not the same to the last."""
    assert [bar | {"vwap": None} for bar in found] == [bar | {"vwap": None} for bar in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one["vwap"] is None) == (other["vwap"] is None)
        assert one["vwap"] is None or abs(float(one["vwap"]) - float(other["vwap"])) < 1e-6


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# ------------------------------------------------------------------------------------------------------- over each tier


@cache
def a_week():
    """Of every symbol. The clocks of New York and Chicago went forward on 10 March."""
    return [row for symbol in SYMBOLS for row in minutes(at("2024-03-07"), at("2024-03-14"), symbol)]


@cache
def reference_of_a_week(*asked):
    return reference(a_week(), *asked)


@pytest.mark.parametrize("session", ["regular", "extended"])
def test_bars_over_both_tiers_are_those_of_the_reference(hot, lake, session):
    put(hot, lake, a_week(), [date(2024, 3, day) for day in (9, 11, 12)])
    hour = timedelta(hours=1)
    for to, step, align in (("1hour", hour, "session"), ("4hour", 4 * hour, "clock"), ("1day", None, "session")):
        found = answer(hot, lake, to, align=align, session=session)
        assert_same(found, reference_of_a_week(to, step, align, session))


# ------------------------------------------------------------------------------------------------------------- sessions


def test_hours_begin_as_the_session_opens_and_the_last_is_shorter_also_on_a_short_day(quick, lake):
    put(quick, lake, minutes(at("2024-07-02"), at("2024-07-04")))  # on the third New York closed at 13:00
    told = [(bar["ts"].strftime("%d %H:%M")) for bar in answer(quick, lake, "1hour")]
    assert told == [
        *(f"02 {hour}:30" for hour in range(13, 20)),
        *(f"03 {hour}:30" for hour in range(13, 17)),
    ]
    clock = [(bar["ts"].strftime("%d %H:%M")) for bar in answer(quick, lake, "1hour", align="clock")]
    assert clock == [
        "02 13:30",
        *(f"02 {hour}:00" for hour in range(14, 20)),
        "03 13:30",
        "03 14:00",
        "03 15:00",
        "03 16:00",
    ]


def test_a_daily_bar_carries_the_date_of_its_session_that_began_the_day_before(quick, lake):
    put(quick, lake, minutes(at("2024-03-03T22:00"), at("2024-03-05T00:00"), "ES"))
    first, second = answer(quick, lake, "1day")
    assert [first["ts"], second["ts"]] == [at("2024-03-04"), at("2024-03-05")]
    # That of Monday began on Sunday at 17:00 in Chicago, 23:00 UTC.
    [opening] = [
        row for row in minutes(at("2024-03-03T22:00"), at("2024-03-05"), "ES") if row["ts"] == at("2024-03-03T23:10")
    ]
    assert first["open"] == opening["open"]


def test_sizes_of_the_chain_make_the_same_bars_as_one_step(quick, lake):
    rows = [row for symbol in ("AAPL", "BTC/USD", "ES") for row in minutes(at("2024-03-04"), at("2024-03-18"), symbol)]
    put(quick, lake, rows)
    hours = answer(quick, lake, "1hour")
    days = answer(quick, lake, "1day")
    stored = MemoryHot()
    with open_lake("memory://", catalog_url="", threads=2) as other:
        put(stored, other, [bar | {"source": "made", "ingested_at": NOON} for bar in (*hours, *days)])
        assert_same(answer(stored, other, "1day", interval="1hour"), days)
        for to in ("1week", "1month"):
            whole = answer(quick, lake, to)
            assert_same(answer(stored, other, to, interval="1day"), whole)
            assert_same(whole, reference(rows, to))


def test_an_hour_that_the_open_lies_in_belongs_to_the_session(quick, lake):
    rows = minutes(at("2024-03-05"), at("2024-03-06"), step=60, interval="1hour")
    put(quick, lake, rows)
    [day] = answer(quick, lake, "1day", interval="1hour")
    inside = [row for row in rows if at("2024-03-05T14:00") <= row["ts"] < at("2024-03-05T21:00")]
    assert (day["open"], day["close"]) == (inside[0]["open"], inside[-1]["close"])


def test_sessions_that_begin_at_odd_minutes_are_asked_for_in_smaller_slots(quick, lake):
    rules = CalendarRules({"equity": "XTAE"})  # it opens at 9:59 in Tel Aviv
    rows = minutes(at("2024-03-05"), at("2024-03-06"), step=1, interval="1min")
    put(quick, lake, rows)
    bars = answer(quick, lake, "30min", interval="1min", rules=rules)
    assert [bar["ts"] for bar in bars[:2]] == [at("2024-03-05T07:59"), at("2024-03-05T08:29")]
    first = [row for row in rows if at("2024-03-05T07:59") <= row["ts"] < at("2024-03-05T08:29")]
    assert (bars[0]["open"], bars[0]["close"]) == (first[0]["open"], first[-1]["close"])


def test_what_has_no_calendar_is_taken_to_trade_around_the_clock(quick, lake):
    put(quick, lake, minutes(at("2024-03-09"), at("2024-03-10")))
    assert answer(quick, lake, "1day") == []
    assert len(answer(quick, lake, "1hour", rules=CalendarRules({}))) == 24


# ---------------------------------------------------------------------------------------------------------------- range


def test_a_range_is_of_the_bars_that_are_made_and_each_of_them_is_whole(quick, lake):
    put(quick, lake, [row for symbol in ("AAPL", "ES") for row in minutes(at("2024-02-26"), at("2024-03-20"), symbol)])
    bounds = [None, at("2024-03-04"), at("2024-03-05T15:10"), at("2024-03-05T15:30"), at("2024-03-12")]
    for to in ("1hour", "1day", "1week", "1month"):
        every = answer(quick, lake, to)
        for start, end in ((s, e) for s in bounds for e in bounds if s is None or e is None or s < e):
            inside = [bar for bar in every if (not start or start <= bar["ts"]) and (not end or bar["ts"] < end)]
            assert answer(quick, lake, to, start=start, end=end) == inside


def test_an_answer_of_some_months_at_once_is_the_same(quick, lake, monkeypatch):
    put(quick, lake, [row for symbol in ("AAPL", "ES") for row in minutes(at("2024-02-26"), at("2024-03-20"), symbol)])
    for to in ("1hour", "1week", "1month"):
        whole = answer(quick, lake, to, symbols=("AAPL", "ES"))
        with monkeypatch.context() as patched:
            patched.setattr(task, "_DAYS_AT_ONCE", 3)
            assert answer(quick, lake, to) == whole
            assert answer(quick, lake, to, limit=5, columns=("ts", "close")) == [
                {"ts": bar["ts"], "close": bar["close"]} for bar in whole[:5]
            ]


def test_an_average_is_left_out_where_a_bar_that_traded_has_none(quick, lake):
    rows = minutes(at("2024-03-05T14:30"), at("2024-03-05T21:00"))
    rows[-1] |= {"vwap": None, "volume": 7.0}
    rows[0] |= {"vwap": None, "volume": 0.0}
    put(quick, lake, rows)
    told = [bar["vwap"] is None for bar in answer(quick, lake, "1hour")]
    assert told == [False] * 6 + [True]


# -------------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("interval", "to"),
    [("1min", "1min"), ("5min", "1min"), ("2min", "5min"), ("1day", "1day"), ("1day", "1hour"), ("1week", "1month"),
     ("1min", "2day"), ("7hour", "1day"), ("1min", "24hour"), ("1month", "1week")],
)  # fmt: skip
def test_a_size_that_is_no_whole_number_of_the_other_is_refused(interval, to):
    with pytest.raises(UsageError, match="don't make bars"):
        Resampling(Query(MARKET_DATA), interval, to)


def test_what_cannot_be_resampled_is_refused(quick, lake):
    with pytest.raises(UsageError, match="only bars"):
        Resampling(Query(NEWS), "1min", "1hour")
    with pytest.raises(UsageError, match="no column 'source'"):
        Resampling(Query(MARKET_DATA, columns=("source",)), "1min", "1hour")
    with pytest.raises(UsageError, match="align is session or clock"):
        Resampling(Query(MARKET_DATA), "1min", "1hour", align="day")
    put(quick, lake, minutes(at("1880-03-05"), at("1880-03-06")))
    with pytest.raises(UsageError, match="the calendar XNYS knows its sessions from"):
        answer(quick, lake, "1hour")
    assert Partition("market_data", "10min", date(1880, 3, 5)).day.year == 1880
