"""Vendors as their documentation describes them, on the server of `vendor_server`: pages, cursors, keys, refusals.

Each has the same bars, so that one suite can ask all of them: those of `BARS`, two to a page.
"""

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
    "1day": [datetime(2024, 5, day, tzinfo=_NEW_YORK).astimezone(UTC) for day in (6, 7, 8, 9, 10)],
    "1min": [datetime(2024, 5, 10, 14, 30 + minute, tzinfo=UTC) for minute in range(5)],
}
"""When the bars of each size open. A daily one is stamped with midnight in New York."""


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
        needs: What an error names that lacks a key.
    """

    kind: str
    extra: str
    path: str
    install: Callable[[Vendor], None]
    variables: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""


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

    @vendor.route("/v2/stocks/bars")
    def bars(request: Request) -> Any:
        asked = request.parameters
        if asked["adjustment"] != "raw" or asked["asof"] != "-":
            return Reply(b'{"message": "adjusted"}', 400)
        first, last = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
        found = [
            (symbol, {"t": f"{opens:%Y-%m-%dT%H:%M:%SZ}", **bar(symbol, opens)})
            for symbol in sorted(asked["symbols"].split(","))
            for opens in BARS[intervals[asked["timeframe"]]]
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

    @vendor.route(r"/v2/aggs/ticker/(?P<symbol>[A-Z]+)/range/(?P<interval>\d/\w+)/(?P<first>\d+)/(?P<last>\d+)")
    def bars(request: Request) -> Any:
        asked = request.groups
        if request.parameters.get("adjusted", "true") != "false":
            return Reply(b'{"status": "ERROR", "error": "adjusted"}', 400)
        found = [
            {"t": stamp, **bar(asked["symbol"], opens)}
            for opens in BARS[intervals[asked["interval"]]]
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


def _massive_path(interval: str = "day") -> str:
    first, last = (int(datetime(2024, 5, day, tzinfo=UTC).timestamp() * 1_000) for day in (6, 11))
    return f"/v2/aggs/ticker/AAPL/range/1/{interval}/{first}/{last - 1}"


FAKES = {
    fake.kind: fake
    for fake in (
        Fake(
            "alpaca",
            "alpaca.data",
            "/v2/stocks/bars",
            _alpaca,
            {"ALPACA_API_KEY": KEY, "ALPACA_SECRET_KEY": SECRET},
            "ALPACA_API_KEY",
        ),
        Fake("massive", "massive", _massive_path(), _massive, {"MASSIVE_API_KEY": KEY}, "MASSIVE_API_KEY"),
    )
}
