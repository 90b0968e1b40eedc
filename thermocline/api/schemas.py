"""Verbs that say which columns datasets have, and change them."""

from collections.abc import Collection

from thermocline.api.opened import Opened, new_run_id
from thermocline.errors import UsageError
from thermocline.model.schema import Schema, SchemaChange, changes_between
from thermocline.tasks.schemas import Evolved, SchemaState, applied, evolve, plan_evolution, states


class Schemas(Opened):
    """Verbs that say which columns datasets have, and change them."""

    def schemas(self, datasets: Collection[str] = ()) -> list[SchemaState]:
        """Each dataset's versions, how it differs from what is declared, and how many live objects each version has."""
        return states(self.hot, applied(self.hot, self._datasets(datasets), anew=True))

    def schema(self, dataset: str, *, version: int | None = None) -> Schema:
        """One version of a dataset's columns; the newest where None, or what is declared where it was never used.

        Raises:
            UsageError: There is no such version.
        """
        (state,) = self.schemas([dataset])
        if version is None:
            return state.versions[-1] if state.versions else Schema.of(state.dataset, version=1)
        return _numbered(state, version)

    def schema_diff(
        self, dataset: str, *, from_version: int | None = None, to_version: int | None = None
    ) -> list[SchemaChange]:
        """What turns one version into another; without versions, what is applied into what is declared.

        Raises:
            UsageError: There is no such version.
        """
        (state,) = self.schemas([dataset])
        if from_version is None and to_version is None:
            return list(state.changes)
        declared = Schema.of(state.declared or state.dataset)
        old = (state.versions or [declared])[-1] if from_version is None else _numbered(state, from_version)
        new = declared if to_version is None else _numbered(state, to_version)
        return changes_between(old, new)

    def plan_evolution(self, dataset: str) -> Evolved:
        """What `evolve` would do; changes nothing.

        Raises:
            SchemaError: A change is not safe; the text says why, and what to do instead.
        """
        return plan_evolution(self.hot, self._dataset(dataset))

    def evolve(self, dataset: str, *, run_id: str | None = None) -> Evolved:
        """Give PostgreSQL and the Iceberg table the columns that are declared. Rows that are there have null in them.

        Raises:
            SchemaError: A change is not safe; nothing was changed.
            LockTimeoutError: Another writer, or a reader that holds a table, did not come to an end.
        """
        return evolve(self.hot, self.lake, self._dataset(dataset), run_id=run_id or new_run_id())


def _numbered(state: SchemaState, version: int) -> Schema:
    for schema in state.versions:
        if schema.version == version:
            return schema
    known = ", ".join(str(schema.version) for schema in state.versions) or "none, since nothing has used it yet"
    msg = f"{state.dataset.name} has no version {version} of its schema; there is {known}"
    raise UsageError(msg)
