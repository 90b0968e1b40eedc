"""Schemas: which columns the stores have, how they differ from what is declared, and making the one the other.

An evolution goes in this order, while the dataset's writer is held:

1. the lake notes every version beside its journal, and the Iceberg table gets the columns: other engines see nulls;
2. one transaction of PostgreSQL alters its tables, the detached ones too, and makes the version the newest.

What reads and writes here goes by the ledger, so up to the second step nothing of the first is used, and nobody ever
asks a store for a column that it lacks. A death in between leaves a declaration that is not applied: run it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thermocline.errors import SchemaError, UsageError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.model.partition import ALL_DAYS
from thermocline.model.schema import Schema, SchemaChange, changes_between, evolved
from thermocline.ports import Hot, Lake


def applied(hot: Hot, datasets: Sequence[Dataset], *, anew: bool = False) -> list[Dataset]:
    """The datasets as the stores have them: with the columns that were applied, and their version.

    The stores are asked once, or `anew`.
    """
    if anew or not DATASETS.were_asked(hot):
        DATASETS.apply(hot.schemas(list(DATASETS.values())), hot)
    return [dataset_named(dataset.name) for dataset in datasets]


def refuse_pending(dataset: Dataset) -> None:
    """Take in no rows of a dataset that is declared otherwise than the stores have it: a column of them would be lost.

    Raises:
        SchemaError: Something is declared and not applied.
    """
    if pending := DATASETS.pending(dataset.name):
        what = "; ".join(change.what for change in pending)
        msg = (
            f"{dataset.name} is declared otherwise than the stores have it: {what}. No row was taken in. Run "
            f"`thermocline schema evolve {dataset.name}`, or take the change back"
        )
        raise SchemaError(msg)


@dataclass(frozen=True)
class SchemaState:
    """A dataset's versions as the stores have them, oldest first, what is declared, and the live objects of each.

    There are no versions before the dataset is used for the first time, and no declaration where it is gone.
    """

    dataset: Dataset
    declared: Dataset | None
    versions: Sequence[Schema]
    changes: Sequence[SchemaChange]
    objects: dict[int, int]

    @property
    def version(self) -> int:
        """The newest version; 0 where the dataset was never used."""
        return self.versions[-1].version if self.versions else 0

    def document(self) -> dict[str, Any]:
        """The state as JSON."""
        return {
            "dataset": self.dataset.name,
            "description": self.dataset.description,
            "version": self.version,
            "declared": self.declared is not None,
            "columns": len(self.dataset.columns),
            "applied_at": self.versions[-1].applied_at.isoformat()
            if self.versions and self.versions[-1].applied_at
            else None,
            "changes": [change.document() for change in self.changes],
            "objects": {str(version): count for version, count in sorted(self.objects.items())},
        }


def states(hot: Hot, datasets: Sequence[Dataset]) -> list[SchemaState]:
    """Where each dataset stands. Nothing is changed."""
    known = hot.schemas(datasets)
    found = []
    for dataset in datasets:
        versions, declared = known.get(dataset.name, ()), DATASETS.declared(dataset.name)
        changes = changes_between(versions[-1], Schema.of(declared)) if versions and declared else []
        objects: dict[int, int] = {}
        paths = {v.receipt.path: v.receipt.schema_version for v in hot.live(dataset, ALL_DAYS)} if versions else {}
        for version in paths.values():
            objects[version] = objects.get(version, 0) + 1
        found.append(SchemaState(dataset_named(dataset.name), declared, versions, changes, objects))
    return found


@dataclass(frozen=True)
class Evolved:
    """What an evolution did, or would do: from one version to another, which is the same where nothing was to do.

    With `anew` the dataset, of which there was only its first version and no row, begins again as it is declared.
    """

    run_id: str
    old: Schema
    new: Schema
    changes: Sequence[SchemaChange]
    anew: bool = False

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "dataset": self.old.dataset,
            "from": self.old.version,
            "to": self.new.version,
            "anew": self.anew,
            "changes": [change.document() for change in self.changes],
        }


def plan_evolution(hot: Hot, dataset: Dataset, *, run_id: str = "") -> Evolved:
    """What `evolve` would do; changes nothing.

    Raises:
        SchemaError: A change is not safe; the text says why, and what to do instead.
        UsageError: Nothing declares the dataset any more.
    """
    declared = DATASETS.declared(dataset.name)
    if declared is None:
        msg = f"nothing declares {dataset.name} any more; it stays as it is. Declare it again to add to it"
        raise UsageError(msg)
    versions = hot.schemas([dataset]).get(dataset.name)
    old = versions[-1] if versions else Schema.of(declared, version=1)
    changes = changes_between(old, Schema.of(declared))
    refused = [change for change in changes if change.refusal]
    if refused and old.version == 1 and _is_empty(hot, dataset):
        return Evolved(run_id, old, Schema.of(declared, version=1), changes, anew=True)
    if refused:
        reasons = "\n".join(f"{change.what}: {change.refusal}" for change in refused)
        msg = f"{dataset.name} stays at version {old.version}; nothing was changed:\n{reasons}"
        raise SchemaError(msg)
    return Evolved(run_id, old, evolved(old, Schema.of(declared)) if changes else old, changes)


def evolve(hot: Hot, lake: Lake, dataset: Dataset, *, run_id: str) -> Evolved:
    """Make the stores what is declared, both together. A second run finds nothing to do.

    Raises:
        SchemaError: A change is not safe; nothing was changed.
        LockTimeoutError: Another writer, or a reader that holds a table, did not come to an end.
    """
    with lake.run(run_id), hot.writer(dataset) as writer:
        planned = plan_evolution(hot, dataset, run_id=run_id)
        versions = list(hot.schemas([dataset])[dataset.name])
        if planned.anew:
            writer.evolve([planned.new], run_id=run_id, anew=True)
            DATASETS.apply_one(hot.schemas([dataset])[dataset.name][-1])
            return planned
        if planned.changes:
            versions.append(planned.new)
        elif len(versions) == 1:
            return planned
        lake.evolve(planned.new.dataset_as(DATASETS.declared(dataset.name) or dataset), versions)
        if planned.changes:
            writer.evolve(versions, run_id=run_id)
            DATASETS.apply_one(hot.schemas([dataset])[dataset.name][-1])
    return planned


def _is_empty(hot: Hot, dataset: Dataset) -> bool:
    """Whether there is no row of the dataset anywhere, and never was one in the lake."""
    there = (hot.hot_days(dataset), hot.late(dataset), hot.detached(dataset), hot.vintages(dataset, ALL_DAYS))
    return not any(there)


def recover_schemas(hot: Hot, lake: Lake, dataset: Dataset, *, run_id: str) -> Dataset:
    """Make a ledger that was just made know the versions that the lake was told of; return the dataset as it is then.

    A version that was never applied, because whoever was at it died, is applied with it: it only adds to the last one.
    """
    noted = lake.schemas(dataset)
    known = hot.schemas([dataset]).get(dataset.name, ())
    if noted and [each.document() for each in noted] != [each.document() for each in known]:
        with hot.writer(dataset) as writer:
            writer.evolve(noted, run_id=run_id)
        DATASETS.apply_one(hot.schemas([dataset])[dataset.name][-1])
    return dataset_named(dataset.name)
