"""Vendors as their documentation describes them, on the server of `vendor_server`: pages, cursors, keys, refusals.

Each has the same bars, so that one suite can ask all of them: those of `BARS`, in several pages.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from vendor_server import Reply, Request, Vendor

PAGE = 2
KEY = "k3y-0123456789"
SECRET = "s3cr3t-9876543210"  # noqa: S105  # of vendors that do not exist

_NEW_YORK = ZoneInfo("America/New_York")
_RECORDED = Path(__file__).parent / "recorded"

BARS: Mapping[str, Sequence[datetime]] = {
    "1day": [datetime(2024, *day, tzinfo=UTC) for day in ((4, 29), (4, 30), (5, 1), (5, 2), (5, 3))],
    "1min": [datetime(2024, 5, 3, 14, 30 + minute, tzinfo=UTC) for minute in range(5)],
}
"""The `ts` of the bars of each size."""


def stamped(interval: str) -> Sequence[datetime]:
    """When the bars open as most vendors see it: a daily one with midnight in New York."""
    return (
        [at.replace(tzinfo=_NEW_YORK).astimezone(UTC) for at in BARS[interval]]
        if interval == "1day"
        else BARS[interval]
    )


def bar(symbol: str, opens: datetime) -> dict[str, Any]:
    """A bar's numbers, with a price that a float can't hold exactly."""
    base = 100 + 10 * (symbol == "ZED") + opens.day + opens.minute / 100
    return {
        "o": round(base + 0.1, 2),
        "h": round(base + 0.69, 2),
        "l": round(base - 0.3, 2),
        "c": round(base + 0.23, 2),
        "v": 1_000 + opens.day,
        "vw": round(base + 0.123456, 6),
        "n": 10 + opens.minute,
    }


def recorded(vendor: str, name: str) -> bytes:
    """An answer as the vendor documents it, its values invented."""
    return (_RECORDED / vendor / f"{name}.json").read_bytes()


@dataclass
class Fake:
    """A vendor, and what asking it takes.

    Attributes:
        kind: What its source is called.
        extra: The module that its extra brings.
        path: Where its daily bars of AAPL are asked for.
        install: Lets a server answer as it does.
        variables: The environment of somebody who has keys.
        options: What its source has to be told.
        endless_path: Where they are asked for without an end, if that is somewhere else.
        pages: How many requests the daily bars of AAPL take.
        asked_every_day: How many of these are asked anew on another day, whatever was kept.
        is_json: Whether its answers are JSON with records that may be broken one by one.
        measures: The columns beside prices and volume that it fills.
    """

    kind: str
    extra: str
    path: str
    install: Callable[[Vendor], None]
    variables: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    endless_path: str = ""
    pages: int = 3
    asked_every_day: int = 0
    is_json: bool = True
    measures: Sequence[str] = ("vwap", "trade_count")


def _page(found: Sequence[Any], cursor: str | None) -> tuple[Sequence[Any], str | None]:
    start = int(cursor or 0)
    following = start + PAGE
    return found[start:following], str(following) if following < len(found) else None


# ------------------------------------------------------------------------------------------------------------- alpaca


def _alpaca(vendor: Vendor) -> None:
    intervals = {"1Day": "1day", "1Min": "1min"}

    def refused(request: Request) -> Reply | None:
        keys = {name.lower(): value for name, value in request.headers.items()}
        if (keys.get("apca-api-key-id"), keys.get("apca-api-secret-key")) == (KEY, SECRET):
            return None
        return Reply(json.dumps({"message": f"forbidden. {keys.get('apca-api-key-id')}"}).encode(), 403)

    @vendor.route("/v2/stocks/bars|/v1beta3/crypto/us/bars|/v1beta1/options/bars")
    def bars(request: Request) -> Any:
        asked = request.parameters
        if request.path.startswith("/v2") and (asked["adjustment"], asked["asof"]) != ("raw", "-"):
            return Reply(b'{"message": "adjusted"}', 400)
        first, last = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
        found = [
            (symbol, {"t": f"{opens:%Y-%m-%dT%H:%M:%SZ}", **bar(symbol, opens)})
            for symbol in sorted(asked["symbols"].split(","))
            for opens in stamped(intervals[asked["timeframe"]])
            if first <= opens <= last
        ]
        page, following = _page(found, asked.get("page_token"))
        by_symbol: dict[str, list[Any]] = {}
        for symbol, one in page:
            by_symbol.setdefault(symbol, []).append(one)
        return refused(request) or {"bars": by_symbol, "next_page_token": following}

    for path, name in {
        "/v1beta1/options/snapshots/ACME": "chain",
        "/v1beta1/news": "news",
    }.items():
        vendor.route(path)(lambda request, name=name: refused(request) or recorded("alpaca", name))

    @vendor.route("/v1/corporate-actions")
    def actions(request: Request) -> Any:
        kinds = json.loads(recorded("alpaca", "actions"))["corporate_actions"]
        asked = {f"{kind}s": kinds[f"{kind}s"] for kind in request.parameters["types"].split(",")}
        return refused(request) or {"corporate_actions": asked, "next_page_token": None}


# ------------------------------------------------------------------------------------------------------------ massive


def _massive(vendor: Vendor) -> None:
    intervals = {"1/day": "1day", "1/minute": "1min"}

    def refused(request: Request) -> Reply | None:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key == KEY:
            return None
        said = {"status": "ERROR", "error": f"Unknown API Key {key}"}
        return Reply(json.dumps(said).encode(), 401)

    @vendor.route(r"/v2/aggs/ticker/(?P<symbol>[A-Z0-9:]+)/range/(?P<interval>\d/\w+)/(?P<first>\d+)/(?P<last>\d+)")
    def bars(request: Request) -> Any:
        asked = request.groups
        if request.parameters.get("adjusted", "true") != "false":
            return Reply(b'{"status": "ERROR", "error": "adjusted"}', 400)
        found = [
            {"t": stamp, **bar(asked["symbol"], opens)}
            for opens in stamped(intervals[asked["interval"]])
            if int(asked["first"]) <= (stamp := int(opens.timestamp() * 1_000)) <= int(asked["last"])
        ]
        page, following = _page(found, request.parameters.get("cursor"))
        answer = {"status": "OK", "adjusted": False, "ticker": asked["symbol"], "results": page}
        if following:
            # Their host, not ours; who goes on there leaves the test.
            answer["next_url"] = f"https://api.massive.com{request.path}?adjusted=false&cursor={following}"
        return refused(request) or answer

    @vendor.route(r"/v2/aggs/grouped/locale/us/market/stocks/(?P<day>[\d-]+)")
    def grouped(request: Request) -> Any:
        day = datetime.fromisoformat(request.groups["day"]).replace(tzinfo=_NEW_YORK)
        close = int((day + timedelta(hours=16)).timestamp() * 1_000)
        results = [{"T": symbol, "t": close, **bar(symbol, day)} for symbol in ("AAPL", "BRK.B")]
        return refused(request) or {"status": "OK", "adjusted": False, "results": results}

    for path, name in {
        "/v3/snapshot/options/ACME": "chain",
        "/v2/reference/news": "news",
        "/stocks/v1/splits": "splits",
        "/stocks/v1/dividends": "dividends",
        "/vX/reference/tickers/ACME/events": "events",
    }.items():
        vendor.route(path)(lambda request, name=name: refused(request) or recorded("massive", name))


def _massive_path(end: datetime) -> str:
    first, last = (int(each.timestamp() * 1_000) for each in (datetime(2024, 4, 29, tzinfo=UTC), end))
    return f"/v2/aggs/ticker/AAPL/range/1/day/{first}/{last - 1_000}"


# ---------------------------------------------------------------------------------------------------------- databento


def _databento(vendor: Vendor) -> None:
    intervals = {"ohlcv-1d": "1day", "ohlcv-1m": "1min"}

    def refused(request: Request) -> Reply | None:
        given = request.headers.get("Authorization", "").removeprefix("Basic ")
        key = base64.b64decode(given).decode().removesuffix(":")
        if key == KEY:
            return None
        said = {"detail": {"case": "auth_invalid", "message": f"Invalid key {key}", "docs": ""}}
        return Reply(json.dumps(said).encode(), 401)

    @vendor.route("/v0/metadata.get_dataset_range")
    def available(request: Request) -> Any:
        return refused(request) or {"start": "2018-05-01T00:00:00.000000000Z", "end": "2024-06-01T00:00:00.000000000Z"}

    @vendor.route("/v0/metadata.get_cost")
    def cost(request: Request) -> Any:
        return refused(request) or b"0.617"

    @vendor.route("/v0/timeseries.get_range")
    def bars(request: Request) -> Any:
        from dbn_made import bar as record  # noqa: PLC0415  # only who asks for it needs the SDK
        from dbn_made import dbn  # noqa: PLC0415  # as above

        asked = request.parameters
        start, end = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
        names = {symbol: number for number, symbol in enumerate(asked["symbols"].split(","))}
        records = [
            record(opens, "{o} {h} {l} {c}".format(**one), one["v"], instrument=number, schema=asked["schema"])
            for opens in BARS[intervals[asked["schema"]]]
            for symbol, number in names.items()
            if start <= opens < end and (one := bar(symbol, opens))
        ]
        said = {"dataset": asked["dataset"], "names": names, "start": start, "end": end}
        return refused(request) or dbn(records, asked["schema"], **said)


# -------------------------------------------------------------------------------------------------------------- yahoo


def chart(symbol: str, stamps: Sequence[datetime], bars: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """A chart of Yahoo's."""
    columns = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
    found = {
        "meta": {
            "currency": "USD",
            "symbol": symbol,
            "instrumentType": "EQUITY",
            "exchangeTimezoneName": "America/New_York",
        },
        "timestamp": [int(each.timestamp()) for each in stamps],
        "indicators": {"quote": [{name: [each[own] for each in bars] for name, own in columns.items()}]},
        **more,
    }
    return {"chart": {"result": [found], "error": None}}


def keep_yahoo_s_cookies_in(folder: Path) -> None:
    """Let yfinance keep what it keeps there, not in the home of who runs the tests."""
    from yfinance.cache import set_cache_location  # noqa: PLC0415  # an extra

    set_cache_location(str(folder))


def _yahoo(vendor: Vendor) -> None:
    intervals = {"1d": "1day", "1m": "1min"}
    opening = timedelta(hours=9, minutes=30)

    @vendor.route("/v8/finance/chart/(?P<symbol>[A-Z]+)")
    def charts(request: Request) -> Any:
        asked, symbol = request.parameters, request.groups["symbol"]
        if asked.get("range") == "max":
            return chart(symbol, [], [])
        interval = intervals[asked["interval"]]
        found = [
            at
            for each in stamped(interval)
            if int(asked["period1"])
            <= (at := each + opening if interval == "1day" else each).timestamp()
            < int(asked["period2"])
        ]
        return chart(symbol, found, [bar(symbol, at.replace(minute=0) if interval == "1day" else at) for at in found])


FAKES = {
    fake.kind: fake
    for fake in (
        Fake(
            "alpaca",
            "alpaca.data",
            "/v2/stocks/bars",
            _alpaca,
            {"ALPACA_API_KEY": KEY, "ALPACA_SECRET_KEY": SECRET},
        ),
        Fake(
            "massive",
            "massive",
            _massive_path(datetime(2024, 5, 4, tzinfo=UTC)),
            _massive,
            {"MASSIVE_API_KEY": KEY},
            endless_path=_massive_path(datetime(2026, 1, 1, tzinfo=UTC)),
        ),
        Fake(
            "databento",
            "databento",
            "/v0/timeseries.get_range",
            _databento,
            {"DATABENTO_API_KEY": KEY},
            {"dataset": "XNAS.ITCH", "max_cost_usd": 5},
            pages=2,
            is_json=False,
            measures=(),
        ),
        Fake(
            "yfinance",
            "yfinance.data",
            "/v8/finance/chart/AAPL",
            _yahoo,
            pages=2,
            asked_every_day=1,
            is_json=False,
            measures=(),
        ),
    )
}
