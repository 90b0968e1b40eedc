"""Binance on this machine: klines by the interface, and zips with checksums for months and days."""

import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from vendor_server import Reply, Request, Vendor

_LENGTHS = {"1m": 60, "1h": 3_600, "1d": 86_400, "1w": 604_800}
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass
class Binance:
    """What it has: every bar from `listed` to `now`; files of months that are over, but for those that are missing."""

    vendor: Vendor
    now: datetime
    listed: datetime = datetime(2017, 8, 17, tzinfo=UTC)
    missing: set[str] = field(default_factory=set)
    spoiled: set[str] = field(default_factory=set)
    """Files that are not what their checksum says."""

    names_in_file: bool = False
    _files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Answer."""
        self.vendor.route(r"/api/v3/klines|/fapi/v1/klines")(self._klines)
        self.vendor.route(r"/data/.*/(?P<name>[^/]+)-(?P<interval>\d+\w+)-(?P<period>\d{4}-\d\d(-\d\d)?)\.zip")(
            self._zip
        )
        self.vendor.route(
            r"/data/.*/(?P<name>[^/]+)-(?P<interval>\d+\w+)-(?P<period>\d{4}-\d\d(-\d\d)?)\.zip\.CHECKSUM"
        )(self._checksum)

    def bars(self, symbol: str, interval: str, start: datetime, end: datetime) -> list[list[Any]]:
        """The bars that open in a span, as the interface writes them."""
        step = timedelta(seconds=_LENGTHS[interval])
        origin = _MONDAY if interval == "1w" else datetime(1970, 1, 1, tzinfo=UTC)
        first = max(start, self.listed)
        at = origin - (origin - first) // step * step
        found = []
        while at < min(end, self.now):
            found.append(bar(symbol, at, step))
            at += step
        return found

    def _klines(self, request: Request) -> Any:
        asked = request.parameters
        if asked["symbol"] == "NOSUCH":
            return Reply(b'{"code":-1121,"msg":"Invalid symbol."}', 400)
        start, last = (datetime.fromtimestamp(int(asked[name]) / 1000, UTC) for name in ("startTime", "endTime"))
        found = self.bars(asked["symbol"], asked["interval"], start, last + timedelta(milliseconds=1))
        return found[: int(asked.get("limit", 500))]

    def _zip(self, request: Request) -> Any:
        body = self._file(request)
        return Reply(status=404) if body is None else body

    def _checksum(self, request: Request) -> Any:
        body = self._file(request)
        if body is None:
            return Reply(status=404)
        digest = hashlib.sha256(body + (b"!" if request.groups["period"] in self.spoiled else b"")).hexdigest()
        return f"{digest}  {request.groups['name']}\n".encode()

    def _file(self, request: Request) -> bytes | None:
        name, interval, period = (request.groups[part] for part in ("name", "interval", "period"))
        start = datetime.fromisoformat(f"{period}-01" if len(period) == 7 else period).replace(tzinfo=UTC)
        end = (start + timedelta(days=32)).replace(day=1) if len(period) == 7 else start + timedelta(days=1)
        if period in self.missing or end > self.now or end <= self.listed:
            return None
        key = f"{name}-{interval}-{period}"
        if key not in self._files:
            scale = 1000 if start.year >= 2025 and "/spot/" in request.path else 1
            lines = ["open_time,open,high,low,close,volume,close_time,quote_volume,count,a,b,ignore"]
            lines = lines if self.names_in_file else []
            for row in self.bars(name, interval, start, end):
                lines.append(",".join(map(str, [row[0] * scale, *row[1:6], row[6] * scale, *row[7:]])))
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{key}.csv", "\n".join(lines) + "\n")
            self._files[key] = packed.getvalue()
        return self._files[key]


def bar(symbol: str, at: datetime, step: timedelta) -> list[Any]:
    """A bar whose every number follows from its symbol and instant."""
    number = int(at.timestamp()) // 60 % 100_000 + sum(map(ord, symbol))
    opened = int(at.timestamp() * 1000)
    prices = [f"{number}.01000000", f"{number + 2}.00000000", f"{number - 1}.50000000", f"{number + 1}.12345678"]
    closes = opened + int(step.total_seconds() * 1000) - 1
    return [opened, *prices, f"{number / 8:.8f}", closes, "1.0", number, "0.5", "0.5", "0"]
