"""Read-only SQL over datasets."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from thermocline.model.dataset import Dataset
from thermocline.ports.lake import Located

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pyarrow as pa


@dataclass(frozen=True)
class Relation:
    """A dataset as one consistent look has it, for an engine that reads Parquet itself.

    `locations` are the objects of days that are not hot, with the days whose rows count; `late` are rows that stand in
    for theirs where they are newer; `hot` opens the rows of hot days.
    """

    dataset: Dataset
    locations: Sequence[Located]
    late: "pa.Table | None"
    hot: "Callable[[], AbstractContextManager[pa.RecordBatchReader]]"


class Analytics(Protocol):
    """An engine for read-only SQL over datasets."""

    def mentioned(self, statement: str, datasets: Collection[Dataset]) -> list[Dataset]:
        """The datasets whose names the statement uses as tables.

        Raises:
            UsageError: It is not one statement that only reads.
        """
        ...

    def run(self, statement: str, relations: Sequence[Relation]) -> "AbstractContextManager[pa.RecordBatchReader]":
        """The answer to one SELECT over the relations, each a table of its dataset's name.

        Raises:
            UsageError: The statement is wrong, or touches anything but the relations.
        """
        ...
