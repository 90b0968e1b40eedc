"""Where things lie in a lake. Paths are relative to the lake's URL and use `/` on every system."""

import re
from collections.abc import Collection
from datetime import date
from urllib.parse import quote, unquote

from thermocline.errors import UsageError
from thermocline.model.partition import Partition, parse_day

COLD = "cold_storage"
RAW = "raw"
PROCESSED = "processed"
CACHE = "cache"
METADATA = "metadata"

_OBJECT = re.compile(
    r"cold_storage/(?P<dataset>[^/]+)/year=(?P<year>\d{4})/month=(?P<month>\d\d)/day=(?P<day>\d\d)/"
    r"(?P<stem>[^/]+)_(?P<stamp>\d{8})(?:_v(?P<version>[1-9]\d*))?\.parquet"
)
_PAGE = re.compile(r"raw/.*_p(?P<number>\d{5,})_v(?P<version>[1-9]\d*)\.parquet")
_LONGEST_LABEL = 100
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))})
"""https://learn.microsoft.com/windows/win32/fileio/naming-a-file, read 2026-11; with any ending, in any case."""
_SHARED = re.compile(
    r"cold_storage/[^/]+/year=\d{4}/(?:month=\d\d/[^/]+_\d{6}|[^/]+_\d{4})(?:_v(?P<version>[1-9]\d*))?\.parquet"
)


def encode(text: str) -> str:
    """Percent-encode text so that it can stand in a path; `decode` gives it back.

    Letters, digits, `-` and `.` stay as they are. Underscores separate the parts of a file's name and are encoded,
    and so are a leading dot, which would hide the file, a dot at the end, which Windows drops, and the first letter of
    what Windows takes for a device, such as CON.

    Upper and lower case stay: where a file system does not tell `aapl` from `AAPL`, something else in the path must.
    """
    quoted = quote(text, safe="").replace("_", "%5F").replace("~", "%7E")
    if quoted.endswith("."):
        quoted = quoted[:-1] + "%2E"
    if quoted.startswith(".") or quoted.partition(".")[0].upper() in _DEVICES:
        return f"%{ord(quoted[0]):02X}{quoted[1:]}"
    return quoted


def decode(text: str) -> str:
    """The text that `encode` was given."""
    return unquote(text)


def object_path(partition: Partition, version: int) -> str:
    """The path of a partition's vintage: the first carries no suffix, a later one `_v2` and so on."""
    year, month, day = partition.day.isoformat().split("-")
    name = "_".join(part for part in (partition.dataset, encode(partition.interval), year + month + day) if part)
    suffix = "" if version == 1 else f"_v{version}"
    return f"{COLD}/{partition.dataset}/year={year}/month={month}/day={day}/{name}{suffix}.parquet"


def parse_object_path(path: str) -> tuple[Partition, int]:
    """The partition and version that an object's path names.

    Raises:
        UsageError: The path is not one that `object_path` writes.
    """
    match = _OBJECT.fullmatch(path)
    if match:
        dataset = match["dataset"]
        interval = decode(match["stem"].removeprefix(dataset).removeprefix("_"))
        day = parse_day(f"{match['year']}-{match['month']}-{match['day']}")
        partition, version = Partition(dataset, interval, day), int(match["version"] or 1)
        if object_path(partition, version) == path:
            return partition, version
    msg = f"{path!r} is not the path of a vintage"
    raise UsageError(msg)


def month_path(dataset: str, interval: str, month: date, version: int) -> str:
    """The path of a compacted month, named by any day of it; a later object of the month carries `_v2` and so on."""
    name = "_".join(part for part in (dataset, encode(interval), f"{month:%Y%m}") if part)
    suffix = "" if version == 1 else f"_v{version}"
    return f"{COLD}/{dataset}/year={month:%Y}/month={month:%m}/{name}{suffix}.parquet"


def year_path(dataset: str, interval: str, year: date, version: int) -> str:
    """The path of a compacted year, named by any day of it; a later object of the year carries `_v2` and so on."""
    name = "_".join(part for part in (dataset, encode(interval), f"{year:%Y}") if part)
    suffix = "" if version == 1 else f"_v{version}"
    return f"{COLD}/{dataset}/year={year:%Y}/{name}{suffix}.parquet"


def shared_path(partitions: Collection[Partition], version: int) -> str:
    """The path of an object that days of one interval and year share: that of their month if all are of one."""
    first, last = min(partitions), max(partitions)
    is_month = first.day.replace(day=1) == last.day.replace(day=1)
    return (month_path if is_month else year_path)(first.dataset, first.interval, first.day, version)


def shared_version(path: str) -> int:
    """Which object of its month or year a path that `shared_path` wrote names; 0 where it did not write it."""
    match = _SHARED.fullmatch(path)
    return int(match["version"] or 1) if match else 0


def has_rows(path: str) -> bool:
    """Whether a path is one that `object_path` or `shared_path` writes."""
    return bool(_OBJECT.fullmatch(path) or _SHARED.fullmatch(path))


def holds_one_day(path: str) -> bool:
    """Whether an object holds one partition alone, as all do that were not compacted."""
    return "/day=" in path


def spans_a_year(path: str) -> bool:
    """Whether an object may hold days of several months: that of a year does."""
    return bool(_SHARED.fullmatch(path)) and "/month=" not in path


def table_location(dataset: str) -> str:
    """The root of a dataset's Iceberg table; its files lie below, its metadata in `metadata/`."""
    return f"{COLD}/{dataset}"


def journal_prefix(dataset: str) -> str:
    """What the paths of a dataset's journal begin with."""
    return f"{METADATA}/receipts/{dataset}/"


def schema_prefix(dataset: str) -> str:
    """What the paths of the versions of a dataset's columns begin with."""
    return f"{METADATA}/schemas/{dataset}/"


def schema_path(dataset: str, version: int) -> str:
    """One version of a dataset's columns, a JSON document."""
    return f"{schema_prefix(dataset)}{version:05d}.json"


def journal_path(dataset: str, run_id: str, number: int) -> str:
    """A file of the journal: the receipts of one commit and what becomes of them, a JSON document a line."""
    return f"{journal_prefix(dataset)}{encode(run_id)}-{number:05d}.jsonl"


def page_prefix(dataset: str, label: str, stamp: str) -> str:
    """What the paths of the pages of one fetch begin with. `stamp` begins with the day that it was begun on.

    Folders are days, since a folder is listed whole where the lake is one of a disk.
    """
    folder = f"{RAW}/{dataset}/year={stamp[:4]}/month={stamp[4:6]}/day={stamp[6:8]}"
    return f"{folder}/{_short(encode(label))}_{dataset}_{stamp}_p"


def page_path(dataset: str, label: str, stamp: str, number: int, version: int) -> str:
    """A page of a source as it came; a later version was fetched where the one before was damaged or had grown."""
    return f"{page_prefix(dataset, label, stamp)}{number:05d}_v{version}.parquet"


def page_version(path: str) -> tuple[int, int] | None:
    """The number and the version of a page, from its path."""
    match = _PAGE.fullmatch(path)
    return (int(match["number"]), int(match["version"])) if match else None


def fetches_prefix() -> str:
    """What the paths of the markers of open fetches begin with."""
    return f"{METADATA}/fetches/"


def fetch_path(dataset: str, source: str, identity: str) -> str:
    """The marker of a fetch that is not published yet."""
    return f"{fetches_prefix()}{dataset}/{_short(encode(source))}-{identity[:32]}.json"


def _short(encoded: str) -> str:
    """Encoded text, cut where a file's name could get too long."""
    return (
        encoded
        if len(encoded) <= _LONGEST_LABEL
        else encoded[:_LONGEST_LABEL].rpartition("%")[0] or encoded[:_LONGEST_LABEL]
    )
