"""The versions of a dataset's columns as the lake notes them: a small JSON document each, beside the journal."""

from collections.abc import Sequence

from thermocline.errors import LakeError
from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.paths import schema_path, schema_prefix
from thermocline.model.schema import Schema
from thermocline.ports import Objects


def read(objects: Objects, dataset: Dataset) -> list[Schema]:
    """Every version that is noted, oldest first.

    Raises:
        LakeError: A document is damaged.
    """
    found = []
    for path in objects.list(schema_prefix(dataset.name)):
        with objects.open(path) as stream:
            body = stream.read()
        try:
            found.append(Schema.from_json(body))
        except (ValueError, LookupError, TypeError) as error:
            msg = (
                f"{objects.location(path)} is damaged, which notes columns of {dataset.name}; no row is lost. Declare "
                "those that are missing, then run `thermocline schema evolve`, which writes it anew"
            )
            raise LakeError(msg) from error
    return found


def write(objects: Objects, dataset: Dataset, schemas: Sequence[Schema]) -> None:
    """Note versions. One that was noted by a run which died before it was applied gives way."""
    for schema in schemas:
        with step(Step.NOTE_SCHEMA):
            objects.replace(schema_path(dataset.name, schema.version), schema.to_json().encode())
