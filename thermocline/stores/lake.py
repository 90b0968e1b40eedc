"""The cold tier: Parquet objects in a store of objects, and the table over them in a catalog.

Reading, writing and publishing have files of their own, `lake_reading.py`, `lake_writing.py` and `lake_publishing.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime
from typing import Self

from thermocline.model.dataset import Dataset
from thermocline.model.paths import has_rows, table_location
from thermocline.model.prices import PriceBook
from thermocline.model.receipt import StoredObject
from thermocline.model.retention import RetentionPolicy
from thermocline.ports import Classes, Objects
from thermocline.stores.archives import ArchiveWatch
from thermocline.stores.duckdb import Engine
from thermocline.stores.lake_publishing import ClosableCatalog, Publishing
from thermocline.stores.lake_writing import Writing
from thermocline.stores.pages import LakePageStore
from thermocline.stores.results import Results
from thermocline.stores.retrying import RetryingObjects


class ParquetLake(Writing, Publishing):
    """The port `Lake` over any `Objects` and `Catalog`. Many threads may call `write`, `observe` and `read`."""

    def __init__(
        self,
        objects: Objects,
        catalog: ClosableCatalog,
        engine: Engine | None = None,
        *,
        policy: RetentionPolicy | None = None,
        prices: Callable[[], PriceBook] | None = None,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        results: Results | None = None,
    ) -> None:
        """Put the parts together; nothing is opened yet.

        Where the store has storage classes, an object is written into the one that is due for its rows by the policy.
        `prices` finds what is said of archived objects. `results` keeps answers; without it none is kept.
        """
        super().__init__(
            objects,
            engine or Engine(),
            ArchiveWatch(objects, policy or RetentionPolicy(), today, prices),
            results or Results(),
        )
        self._policy, self._today, self._catalog = policy or RetentionPolicy(), today, catalog

    def __enter__(self) -> Self:
        """Hand the lake over."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give connections and memory back. The lake takes them again when it is used again."""
        self._catalog.close()
        self._results.close()
        self._engine.close()

    @property
    def url(self) -> str:
        """See `Lake.url`."""
        return self._objects.url

    @property
    def objects(self) -> Objects:
        """The objects that the lake is made of."""
        return self._objects

    @property
    def engine(self) -> Engine:
        """How DuckDB opens this lake's locations."""
        return self._engine

    @property
    def classes(self) -> Classes | None:
        """See `Lake.classes`."""
        return self._objects.classes

    def survey(self, dataset: Dataset) -> Iterator[StoredObject]:
        """See `Lake.survey`."""
        return (stored for stored in self.stored(f"{table_location(dataset.name)}/year=") if has_rows(stored.path))

    @property
    def page_store(self) -> LakePageStore:
        """See `Lake.page_store`."""
        return LakePageStore(self._objects)

    def run(self, run_id: str) -> AbstractContextManager[object]:
        """See `Lake.run`. Objects that don't repeat requests have no budget."""
        return self._objects.run(run_id) if isinstance(self._objects, RetryingObjects) else nullcontext()

    def delete(self, path: str) -> None:
        """See `Lake.delete`."""
        self._objects.delete(path)

    def objects_of(self, dataset: Dataset) -> Iterator[str]:
        """See `Lake.objects_of`."""
        return (path for path in self._objects.list(f"{table_location(dataset.name)}/year=") if has_rows(path))

    def size_of(self, path: str) -> int:
        """See `Lake.size_of`."""
        try:
            return self._objects.stat(path).size_bytes
        except FileNotFoundError:
            return 0

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """See `Lake.stored`."""
        if classes := self._objects.classes:
            return classes.survey(prefix)
        return (self._objects.stat(path) for path in self._objects.list(prefix))

    def size_bytes(self, path: str) -> int | None:
        """See `Lake.size_bytes`."""
        try:
            return self._objects.stat(path).size_bytes
        except FileNotFoundError:
            return None
