"""What a look at a dataset goes by, and whether what was known before is still so.

Which days are hot, in which tables, and which vintages are live changes a few times a night; the questions that go by
it are many. So it is known from one look to the next, and each look checks in its own snapshot that it is the same:

- the ledger's mark of the dataset (see revision 0007), which every change of hot days and vintages begins anew;
- which tables hang from which, and the columns of the parent, by the transactions that last wrote them: what somebody
  else attached, detached or altered is found as ever.

Late rows are in no mark, since many come in side by side: a look asks whether there are any.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from psycopg import sql

from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS, DayRange, Partition, midnight
from thermocline.model.receipt import Vintage
from thermocline.stores.postgres import ledger, shape, tables
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.tables import Leaf, Table

_MOST_CONDITIONS = 1000
_STATE = "thermocline.state_of({}, {}, {}::oid[])"

# The tables that partitions hang from, at any depth.
_PARTITIONED = f"""{tables.TREE}
    SELECT oid::bigint FROM (SELECT oid FROM tree UNION SELECT to_regclass(%s)) AS every JOIN pg_class USING (oid)
    WHERE relkind = 'p' ORDER BY 1
"""  # noqa: S608  # a constant


@dataclass(frozen=True)
class Facts:
    """What the ledger and the catalog say of a dataset, and by what to know whether they still do.

    Nothing hangs from the dataset's table that is not in the hot set. `tables` are those that hold off every detach.
    """

    dataset: Dataset
    hot: frozenset[Partition]
    leaves: Mapping[Partition, Leaf]
    tables: tuple[Table, ...]
    generation: str
    same: str
    """SQL, a condition: whether all this is so in the snapshot that asks."""
    _conditions: dict[tuple[int, ...], str] = field(default_factory=dict, compare=False, repr=False)
    _of_days: dict[tuple[DayRange, tuple[str, ...]], str] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def locking(self) -> str:
        """SQL that begins a look, see `locking`."""
        return locking(self.tables).as_string()

    def condition_of(self, days: DayRange, intervals: Collection[str]) -> str:
        """As `condition_on` the tables of those days and intervals."""
        asked = (days, tuple(intervals))
        condition = self._of_days.get(asked)
        if condition is None:
            name = self.dataset.name
            partitions = (Partition(name, interval, day) for interval in intervals for day in days)
            condition = self.condition_on([leaf for each in partitions if (leaf := self.leaves.get(each))])
            if len(self._of_days) < _MOST_CONDITIONS:
                self._of_days[asked] = condition
        return condition

    def condition_on(self, leaves: Sequence[Leaf]) -> str:
        """SQL, a condition: whether all is the same, and these tables are still called what they were."""
        oids = tuple(leaf.oid for leaf in leaves)
        condition = self._conditions.get(oids)
        if condition is None:
            names = [leaf.table.quoted for leaf in leaves]
            called = sql.SQL("ARRAY(SELECT to_regclass(unnest({}::text[]))::oid) = {}::oid[]").format(
                sql.Literal(names), sql.Literal(list(oids))
            )
            condition = f"{self.same} AND {called.as_string()}"
            if len(self._conditions) < _MOST_CONDITIONS:
                self._conditions[oids] = condition
        return condition


def locking(locked: Sequence[Table]) -> sql.Composed:
    """SQL that begins a look which no detach can disturb.

    A detach is not MVCC: a snapshot that began before it no longer sees the day after it. So the lock comes first and
    the snapshot is taken by the first query after it. Only the tables that days hang from are locked, not each day.
    """
    begin = sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(table.sql) for table in locked)
    return sql.SQL("; ").join(
        [begin, *([sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names)] if locked else [])]
    )


def any_late(dataset: Dataset, days: DayRange) -> sql.Composed:
    """A condition: whether there are late rows of these days."""
    of_days = sql.SQL("") if days == ALL_DAYS else sql.SQL(" WHERE {}").format(during(days))
    return sql.SQL("EXISTS (SELECT FROM {}{})").format(tables.late_table(dataset).sql, of_days)


def during(days: DayRange) -> sql.Composed:
    """The condition that a row belongs to those days."""
    return sql.SQL("ts >= {} AND ts < {}").format(sql.Literal(midnight(days.start)), sql.Literal(midnight(days.end)))


def read_facts(connection: Connection, schema: str, dataset: Dataset) -> tuple[Facts, bool]:
    """What is so in the transaction's snapshot, and whether it may be known from now on.

    Raises:
        HotStoreError: Rows hang from our tables that no answer would have, or somebody changed their columns.
    """
    leaves = tables.leaves(connection, schema, dataset)
    parent = tables.parent_table(schema, dataset)
    if leaves:
        shape.check_columns(connection, parent, dataset)
    hot = frozenset(day.partition for day in ledger.hot_days(connection, [dataset]))
    unknown = [leaf for leaf in leaves if leaf.partition not in hot]
    shape.refuse_unknown(connection, dataset, unknown)
    quoted = parent.sql.as_string(connection)
    partitioned = [oid for (oid,) in connection.execute(_PARTITIONED, (parent.schema, parent.name, quoted))]
    state = sql.SQL(_STATE).format(sql.Literal(dataset.name), sql.Literal(quoted), sql.Literal(partitioned))
    now: str | None = scalar(connection, sql.SQL("SELECT {}").format(state))
    same = sql.SQL("({} = {})").format(state, sql.Literal(now))
    facts = Facts(
        dataset,
        hot,
        {leaf.partition: leaf for leaf in leaves},
        tuple(tables.range_tables(connection, schema, dataset)),
        now.split()[0] if now else "",
        same.as_string(connection),
    )
    # Whether one that is not in the hot set holds rows is asked each time.
    return facts, now is not None and not unknown


class Live:
    """The live vintages of a dataset, by interval and day."""

    def __init__(self, vintages: Sequence[Vintage]) -> None:
        """Take all of them, in that order."""
        self._all = vintages
        self._series: dict[str, tuple[list[int], list[Vintage]]] = {}
        for vintage in vintages:
            days, found = self._series.setdefault(vintage.partition.interval, ([], []))
            days.append(vintage.partition.day.toordinal())
            found.append(vintage)

    def of(self, days: DayRange, intervals: Collection[str]) -> Sequence[Vintage]:
        """Those of some days and intervals (none: all), in order."""
        if days == ALL_DAYS and not intervals:
            return self._all
        first, end = days.start.toordinal(), days.end.toordinal()
        found: list[Vintage] = []
        for interval, (ordinals, vintages) in self._series.items():
            if not intervals or interval in intervals:
                found += vintages[bisect_left(ordinals, first) : bisect_left(ordinals, end)]
        return found


class Known:
    """The facts of datasets from one look to the next. Any number of threads may use it."""

    def __init__(self, schema: str) -> None:
        """Know nothing yet of the datasets whose tables are in that schema."""
        self.schema = schema
        self._facts: dict[str, Facts] = {}
        self._live: dict[str, tuple[str, Live | None]] = {}

    def of(self, dataset: Dataset) -> Facts | None:
        """What was so when somebody last looked; for the very columns that the dataset has."""
        facts = self._facts.get(dataset.name)
        return facts if facts and facts.dataset == dataset else None

    def keep(self, facts: Facts) -> None:
        """Know this from now on."""
        self._facts[facts.dataset.name] = facts

    def forget(self, datasets: Collection[Dataset]) -> None:
        """Know nothing of these any more."""
        for dataset in datasets:
            self._facts.pop(dataset.name, None)

    def live(self, dataset: Dataset, generation: str) -> Live | None:
        """Every live vintage in a generation, if somebody read them all."""
        of, live = self._live.get(dataset.name, ("", None))
        return live if of == generation else None

    def read_live(
        self,
        connection: Connection,
        dataset: Dataset,
        generation: str | None,
        days: DayRange,
        intervals: Collection[str],
    ) -> Sequence[Vintage]:
        """The live vintages of those days, in a snapshot that has this generation.

        Whoever asks once gets what is asked for. The second time all of them are read, and known from then on.
        """
        if generation is None:
            return ledger.live(connection, dataset, days, intervals)
        of, live = self._live.get(dataset.name, ("", None))
        if of != generation:
            self._live[dataset.name] = (generation, None)
            return ledger.live(connection, dataset, days, intervals)
        if live is None:
            live = Live(ledger.live(connection, dataset, ALL_DAYS))
            self._live[dataset.name] = (generation, live)
        return live.of(days, intervals)


def generation_of(connection: Connection, dataset: Dataset) -> str | None:
    """The ledger's mark of a dataset in the transaction's snapshot; None where nothing was ever noted of it."""
    return scalar(  # type: ignore[no-any-return]
        connection, "SELECT generation::text FROM thermocline.generation WHERE dataset = %s", (dataset.name,)
    )
