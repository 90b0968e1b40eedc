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

    def instruments(self, relation: Relation, symbols: Collection[str] = ()) -> list[tuple[str, str]]:
        """The asset class (empty where the dataset has none) and symbol of every series with rows, in order.

        Of the relation's hot rows the key and the symbol suffice.
        """
        ...

    def counts(self, relation: Relation, spans: "pa.Table", symbols: Collection[str] = ()) -> "pa.Table":
        """How many rows each series has on each day, as a table: asset_class, symbol, day, rows, there_0 and so on.

        Days count from the epoch. `spans` has a line for each UTC day with sessions: `day`, the day that its rows are
        `counted` for, and for the calendar `n` one or more spans `[from_n_m, to_n_m)` in microseconds, null where it
        has fewer; `there_n` are the rows that open in one of them. A row of a day without a line is counted for it.
        """
        ...

    def run(self, statement: str, relations: Sequence[Relation]) -> "AbstractContextManager[pa.RecordBatchReader]":
        """The answer to one SELECT over the relations, each a table of its dataset's name.

        Raises:
            UsageError: The statement is wrong, or touches anything but the relations.
        """
        ...
