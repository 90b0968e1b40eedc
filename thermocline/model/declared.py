"""Which datasets a process knows: what is declared, laid over with what the stores of its home have."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from weakref import ref

from thermocline.model.dataset import Dataset
from thermocline.model.schema import Schema, SchemaChange, blocking, changes_between


class Declared(Mapping[str, Dataset]):
    """Datasets by name, in order.

    A declaration says what a dataset should be; the stores of a home say what it is (`Hot.schemas`). Once they were
    asked, a dataset has their columns and their version: so a declaration that is newer than the stores, or older, can
    neither be read past a column nor written without one. What is declared and not applied is `pending`; what is
    applied and not declared any more stays what it is.

    There is one of these in a process, since a dataset is known by its name in many places. It belongs to the home that
    was opened last; opening another replaces what was declared and applied.
    """

    def __init__(self, built_in: Iterable[Dataset]) -> None:
        """Know the datasets that every home has."""
        self._built_in = {dataset.name: dataset for dataset in built_in}
        self._declared = dict(self._built_in)
        self._applied: dict[str, Schema] = {}
        self._known = dict(self._built_in)
        self._asked: Callable[[], object | None] = lambda: None

    def __getitem__(self, name: str) -> Dataset:
        """The dataset of that name."""
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in order."""
        return iter(self._known)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._known)

    def declare(self, datasets: Iterable[Dataset]) -> None:
        """Know these beside the built-in ones, or in their place; what was declared before is forgotten."""
        declared = self._built_in | {dataset.name: dataset for dataset in datasets}
        if declared != self._declared:
            self._declared, self._applied, self._asked = declared, {}, lambda: None
            self._lay_over()

    def forget(self) -> None:
        """Know the built-in datasets alone, as they are declared."""
        self._declared, self._applied, self._asked = dict(self._built_in), {}, lambda: None
        self._lay_over()

    def apply(self, schemas: Mapping[str, Sequence[Schema]], stores: object) -> None:
        """Take over what the stores of a home have of every dataset: the newest of its versions, oldest first."""
        self._asked = ref(stores)
        self._applied = {name: versions[-1] for name, versions in schemas.items() if versions}
        self._lay_over()

    def were_asked(self, stores: object) -> bool:
        """Whether these stores were the last ones to say what they have of every dataset."""
        return self._asked() is stores

    def apply_one(self, schema: Schema) -> None:
        """Take over what the stores have of one dataset."""
        if self._applied.get(schema.dataset) != schema:
            self._applied = self._applied | {schema.dataset: schema}
            self._lay_over()

    def declared(self, name: str) -> Dataset | None:
        """A dataset as it is declared, whatever the stores have; None where it is not."""
        return self._declared.get(name)

    def pending(self, name: str) -> list[SchemaChange]:
        """What is declared and not applied, as far as it must be applied before rows can be accepted."""
        if name not in self._applied or name not in self._declared:
            return []
        return blocking(changes_between(self._applied[name], Schema.of(self._declared[name])))

    def _lay_over(self) -> None:
        # One assignment: another thread sees all of it or nothing.
        known = {name: self._as_applied(dataset) for name, dataset in self._declared.items()}
        others = {name: schema.undeclared for name, schema in self._applied.items() if name not in known}
        self._known = known | others

    def _as_applied(self, declared: Dataset) -> Dataset:
        schema = self._applied.get(declared.name)
        found = declared if schema is None else schema.dataset_as(declared)
        return declared if found == declared else found
