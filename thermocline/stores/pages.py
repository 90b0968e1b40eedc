"""Pages of sources, kept in the lake: `raw/` has each as it came, `metadata/fetches/` which questions are open.

A page is there when its object is; that one act decides. Its object says itself what it answers, so that a page is only
gone on from where it answers the very question, asked with the very cursor. A damaged one counts as not there: the page
is fetched again and gets the next version of its name. A question is open while its marker exists; the marker names the
instant that the names of its pages carry. Two runs of one question share it, and each takes what the other has kept.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from thermocline.errors import ObjectExistsError
from thermocline.faults import Step, step
from thermocline.model.paths import RAW, fetch_path, fetches_prefix, page_path, page_prefix, page_version
from thermocline.ports import KeptPages, Objects, Page, Question, Unfinished

FRESH = timedelta(days=7)
"""Pages that are older are not gone on from: too much may have been restated since."""

_META = b"thermocline"
_THREADS = 8


@dataclass
class LakePages:
    """The port `Pages` over the objects of a lake."""

    objects: Objects
    now: datetime
    run_id: str
    anew: bool = False
    fetched: int = 0
    resumed: int = 0
    _opened: dict[str, "_Kept"] = field(default_factory=dict)

    def open(self, question: Question) -> KeptPages:
        """See `Pages.open`."""
        found = self._opened.get(question.identity)
        if found is None:
            found = self._opened[question.identity] = self._open(question)
        return found

    def renew(self, question: Question) -> KeptPages:
        """See `Pages.renew`."""
        self._opened.pop(question.identity, None)
        self.objects.delete(fetch_path(question.dataset, question.source, question.identity))
        return self.open(question)

    def finish(self) -> None:
        """See `Pages.finish`. What another run has begun since is left alone."""
        read = [kept for kept in self._opened.values() if kept.is_read]
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(self._finish, read))
        for kept in read:
            del self._opened[kept.question.identity]

    def _finish(self, kept: "_Kept") -> None:
        path = fetch_path(kept.question.dataset, kept.question.source, kept.question.identity)
        with step(Step.FINISH_FETCH):
            if (marker := _marker(self.objects, path)) and marker["stamp"] == kept.stamp:
                self.objects.delete(path)

    def _open(self, question: Question) -> "_Kept":
        path = fetch_path(question.dataset, question.source, question.identity)
        marker = _marker(self.objects, path)
        if marker and (self.anew or self.now - _opened_at(marker) > FRESH):
            self.objects.delete(path)
            marker = None
        if marker is None:
            # No other question of this run, and no other run of this question, has the same.
            own = hashlib.sha256(f"{question.identity} {self.run_id}".encode()).hexdigest()[:8]
            stamp = f"{self.now.astimezone(UTC):%Y%m%d_%H%M%S}_{own}"
            document = {
                "stamp": stamp,
                "opened_at": self.now.astimezone(UTC).isoformat(),
                "source": question.source,
                "dataset": question.dataset,
                "label": question.label,
                "asked": dict(question.asked),
            }
            marker = document
            try:
                with step(Step.OPEN_FETCH):
                    self.objects.put(path, BytesIO(json.dumps(document, sort_keys=True).encode()))
            except ObjectExistsError:
                marker = _marker(self.objects, path) or document
            else:
                return _Kept(self, question, str(marker["stamp"]))
        kept = _Kept(self, question, str(marker["stamp"]), is_shared=True)
        kept.look()
        return kept


@dataclass
class _Kept:
    """The port `KeptPages`."""

    run: LakePages
    question: Question
    stamp: str
    is_shared: bool = False
    """Whether another run has begun it, which may be at it still."""

    is_read: bool = False
    _versions: dict[int, int] = field(default_factory=dict)
    """The newest version of each page that there is."""

    def look(self) -> None:
        """See which pages there are."""
        for path in self.run.objects.list(page_prefix(self.question.dataset, self.question.label, self.stamp)):
            if found := page_version(path):
                number, version = found
                self._versions[number] = max(version, self._versions.get(number, 0))

    def read(self, number: int, cursor: str | None) -> Page | None:
        """See `KeptPages.read`."""
        # Another run of the question may have kept it since.
        version = self._versions.get(number, 1 if self.is_shared else 0)
        page = self._page(number, version, cursor) if version else None
        if page is not None:
            self.run.resumed += 1
            self.is_read = page.following is None
        return page

    def keep(self, number: int, page: Page) -> Page:
        """See `KeptPages.keep`."""
        body = _encoded(self.question, number, page)
        while True:
            version = self._versions.get(number, 0) + 1
            path = page_path(self.question.dataset, self.question.label, self.stamp, number, version)
            self._versions[number] = version
            try:
                with step(Step.KEEP_PAGE):
                    self.run.objects.put(path, BytesIO(body))
            except ObjectExistsError:
                if other := self._page(number, version, page.cursor):
                    self.is_read = other.following is None
                    return other
            else:
                self.run.fetched += 1
                self.is_read = page.following is None
                return page

    def _page(self, number: int, version: int, cursor: str | None) -> Page | None:
        path = page_path(self.question.dataset, self.question.label, self.stamp, number, version)
        try:
            with self.run.objects.open(path) as stream:
                body = stream.read()
        except FileNotFoundError:
            return None
        try:
            page, identity = _decoded(body)
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError):
            return None  # damaged: it is fetched again
        return page if (identity, page.cursor) == (self.question.identity, cursor) else None


@dataclass(frozen=True)
class LakePageStore:
    """The port `PageStore` over the objects of a lake."""

    objects: Objects

    def pages(self, *, now: datetime, run_id: str, anew: bool = False) -> LakePages:
        """See `PageStore.pages`."""
        return LakePages(self.objects, now, run_id, anew)

    def unfinished(self) -> list[Unfinished]:
        """See `PageStore.unfinished`."""
        return sorted(self._unfinished(), key=lambda each: each.opened_at)

    def open_prefixes(self) -> frozenset[str]:
        """See `PageStore.open_prefixes`. Where a marker can't be read, any page of its dataset may be open."""
        found = set()
        for path in self.objects.list(fetches_prefix()):
            if marker := _marker(self.objects, path):
                found.add(page_prefix(*(str(marker[name]) for name in ("dataset", "label", "stamp"))))
            else:
                found.add(f"{RAW}/{path.removeprefix(fetches_prefix()).partition('/')[0]}/")
        return frozenset(found)

    def _unfinished(self) -> Iterator[Unfinished]:
        pages: dict[str, set[int]] = {}  # by what their paths begin with; each folder is listed once
        listed = set()
        for path in self.objects.list(fetches_prefix()):
            if marker := _marker(self.objects, path):
                source, dataset, label = (str(marker[name]) for name in ("source", "dataset", "label"))
                prefix = page_prefix(dataset, label, str(marker["stamp"]))
                folder = prefix.rpartition("/")[0]
                if folder not in listed:
                    listed.add(folder)
                    for page in self.objects.list(f"{folder}/"):
                        if found := page_version(page):
                            pages.setdefault(page[: page.rindex("_p") + 2], set()).add(found[0])
                yield Unfinished(source, dataset, label, _opened_at(marker), len(pages.get(prefix, ())))


def _marker(objects: Objects, path: str) -> dict[str, Any] | None:
    """What the marker of a question says; None where there is none that can be read."""
    try:
        with objects.open(path) as stream:
            marker = json.loads(stream.read())
    except FileNotFoundError:
        return None
    except ValueError:
        objects.delete(path)
        return None
    return marker if isinstance(marker, dict) else None


def _opened_at(marker: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(marker["opened_at"]))


def _encoded(question: Question, number: int, page: Page) -> bytes:
    said = {
        "identity": question.identity,
        "source": question.source,
        "asked": dict(question.asked),
        "page": number,
        "cursor": page.cursor,
        "following": page.following,
        "fetched_at": page.fetched_at.astimezone(UTC).isoformat(),
    }
    metadata = {**(page.rows.schema.metadata or {}), _META: json.dumps(said, sort_keys=True).encode()}
    sink = BytesIO()
    pq.write_table(page.rows.replace_schema_metadata(metadata), sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _decoded(body: bytes) -> tuple[Page, str]:
    table = pq.read_table(BytesIO(body), page_checksum_verification=True)
    metadata = dict(table.schema.metadata or {})
    said = json.loads(metadata.pop(_META))
    page = Page(
        table.replace_schema_metadata(metadata or None),
        said["cursor"],
        said["following"],
        datetime.fromisoformat(said["fetched_at"]),
    )
    return page, said["identity"]
