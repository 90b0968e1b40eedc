"""A bucket in a folder: what a store with storage classes does, in files that outlive whoever is killed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from tiering_world import free

from thermocline.errors import PlanDriftError
from thermocline.model.receipt import StoredObject
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider, first_class
from thermocline.ports import Rule
from thermocline.stores.objects_local import LocalObjects

COLDER = {Provider.GCS: "NEARLINE", Provider.S3: "STANDARD_IA"}
"""To which class objects move."""


class FolderBucket(LocalObjects):
    """Objects as files, and the class of each that is not in the first one in a file beside them."""

    provider = Provider.GCS

    def __init__(self, root: Path) -> None:
        """Name the folder."""
        super().__init__(root)
        self._classes = root / ".classes"

    @property
    def classes(self) -> "FolderBucket":  # type: ignore[override]  # a folder has none
        """Itself."""
        return self

    def stat(self, path: str) -> StoredObject:
        """What the store says of an object."""
        named = self._classes / path
        placed = named.read_text() if named.exists() else first_class(self.provider).name
        return replace(super().stat(path), storage_class=placed)

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose path starts with the prefix, in order."""
        return (self.stat(path) for path in self.list(prefix))

    def transition(self, stored: StoredObject, storage_class: str) -> StoredObject:
        """Move an object to another class, whole or not at all."""
        if self.stat(stored.path).etag != stored.etag:
            raise PlanDriftError(stored.path)
        named = self._classes / stored.path
        named.parent.mkdir(parents=True, exist_ok=True)
        written = named.with_suffix(".new")
        written.write_text(storage_class)
        written.replace(named)
        return self.stat(stored.path)

    def restore(self, path: str, *, days: int, speed: str) -> None:
        """Nothing is archived."""
        raise NotImplementedError(path, days, speed)

    def rules(self) -> Sequence[Rule]:
        """There are none."""
        return ()

    def replace_rules(self, rules: Sequence[Rule], *, expected: Sequence[Rule]) -> None:
        """There are none."""
        raise NotImplementedError(rules, expected)


def in_a_bucket(opened: Any) -> Any:
    """The same Thermocline over the same files, which lie in a bucket now; itself where its lake is in one."""
    if opened.settings.lake_url.reveal().startswith(("s3://", "gs://")):
        return opened
    from thermocline.stores.home import catalog_address, hot_address  # noqa: PLC0415  # a second, in the one who acts
    from thermocline.stores.iceberg import IcebergCatalog  # noqa: PLC0415
    from thermocline.stores.lake import ParquetLake  # noqa: PLC0415
    from thermocline.stores.retrying import RetryingObjects  # noqa: PLC0415

    bucket = RetryingObjects(FolderBucket(Path(opened.settings.home) / "lake"))
    address = catalog_address(opened.settings, hot_address(opened.settings))
    opened.lake = ParquetLake(bucket, IcebergCatalog(address, bucket))
    return opened


def tiering_of(opened: Any, as_of: str) -> Any:
    """What is due in that bucket for a class in which everything costs less, one object at a time."""
    from thermocline.tasks.tiers import Tiering  # noqa: PLC0415  # as above

    provider = opened.lake.classes.provider
    policy = RetentionPolicy(Retention((ClassStep(30, COLDER[provider]),)))
    day = date.fromisoformat(as_of)
    return Tiering(opened.hot, opened.lake, policy, free(provider), day, threads=1)
