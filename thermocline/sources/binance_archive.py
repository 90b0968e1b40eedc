"""Files of Binance's archive: a zip with one CSV of bars for a month or a day, and its SHA-256 beside it."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.csv as pa_csv

from thermocline.errors import SourceError
from thermocline.sources.transport.calls import PassingError
from thermocline.sources.transport.candles import exchange_interval
from thermocline.sources.transport.http import Http

KLINES = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
"""The columns of a file, and of a row of the interface."""

_SCHEMA = pa.schema([
    pa.field(name, pa.int64() if name in {"open_time", "close_time", "count"} else pa.string()) for name in KLINES
])  # fmt: skip
UNTOLD = _SCHEMA.empty_table().replace_schema_metadata({"untold": "1"})
"""A page without a bar that proves nothing, since its span is to be had elsewhere, or not at all."""

_MOST_BYTES = 1 << 30
_SHA256_DIGITS = 64
_ATTEMPTS = 2


class SpoiledFileError(SourceError):
    """A file is not what its checksum says, though it was had twice."""


class Archive:
    """The files of one symbol and interval."""

    def __init__(self, http: Http, market: str, own: str, interval: str) -> None:
        """Name the series; nothing is asked yet."""
        self._http, self._own = http, own
        self._market = market if market == "spot" else f"futures/{market}"
        self._interval = exchange_interval(interval).replace("M", "mo")

    def name(self, period: str) -> str:
        """The name of the file of a month (`2024-01`) or a day (`2024-01-15`)."""
        return f"{self._own}-{self._interval}-{period}.zip"

    def month_or_day(self, period: str) -> pa.Table:
        """The bars of a month or a day, as the file has them, after its checksum was found right.

        Raises:
            NotThereError: There is no such file, or no checksum of it.
            SpoiledFileError: It is not what its checksum says; in the archive some never are.
            SourceError: The file could not be had whole.
        """
        every = "monthly" if len(period) == len("2024-01") else "daily"
        path = f"/data/{self._market}/{every}/klines/{self._own}/{self._interval}/{self.name(period)}"
        for _ in range(_ATTEMPTS):
            expected = self._http.get(f"{path}.CHECKSUM", None, _checksum)
            body = self._http.get(path, None, lambda response: response.content)
            if hashlib.sha256(body).hexdigest() == expected:
                return _unpacked(self.name(period), body)
        msg = f"{self.name(period)} is not what its checksum says"
        raise SpoiledFileError(msg)


def _checksum(response: httpx.Response) -> str:
    """The digest, the first word of `<sha256>  <name>`."""
    words = response.text.split()
    if not words or len(words[0]) != _SHA256_DIGITS:
        msg = "its checksum is no SHA-256"
        raise PassingError(msg)
    return words[0].lower()


def _unpacked(name: str, body: bytes) -> pa.Table:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            (member,) = packed.infolist()
            if member.file_size > _MOST_BYTES:
                msg = f"{name} would unpack to {member.file_size} bytes"
                raise SpoiledFileError(msg)
            content = packed.read(member)
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError) as error:
        msg = f"{name} can't be unpacked: {error}"
        raise SpoiledFileError(msg) from error
    if not content.strip():
        return _SCHEMA.empty_table()
    has_names = content[:1].isalpha()
    try:
        return pa_csv.read_csv(
            pa.BufferReader(content),
            pa_csv.ReadOptions(column_names=list(KLINES), skip_rows=int(has_names)),
            convert_options=pa_csv.ConvertOptions(column_types=_SCHEMA),
        )
    except pa.ArrowInvalid as error:
        msg = f"{name} holds no bars as expected: {error}"
        raise SpoiledFileError(msg) from error


def as_table(rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows of the interface as those of a file."""
    columns = list(zip(*(row[: len(KLINES)] for row in rows), strict=True)) if rows else [()] * len(KLINES)
    arrays = [
        pa.array(column if field.type == pa.int64() else [str(value) for value in column], field.type)
        for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    return pa.table(arrays, schema=_SCHEMA)


def is_untold(rows: pa.Table) -> bool:
    """Whether a page is one that proves nothing."""
    return b"untold" in (rows.schema.metadata or {})
