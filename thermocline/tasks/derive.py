"""Derive: indicators from daily bars, for the days whose bars changed since, published as a backfill's rows are.

The ledger notes for each derived day which bars and splits it was made of and what it said afterwards. A day is due
when either is another now; where none is, nothing but the ledger is read (and hot or late rows, which only PostgreSQL
knows).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from thermocline.model.dataset import Dataset
from thermocline.model.datasets import FEATURES, MARKET_DATA, SPLITS, dataset_named
from thermocline.model.derivation import Derivation, digests
from thermocline.model.fingerprint import contents_of
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, ONE_DAY, DayRange, Partition, midnight, partitions_of, rows_of
from thermocline.model.query import Query
from thermocline.model.report import Moved
from thermocline.ports import SILENT, Fetched, FetchRequest, Hot, Lake, Progress, SpoolFactory
from thermocline.tasks.backfill import Backfill, Backfilled
from thermocline.tasks.query import query
from thermocline.tasks.schemas import applied

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "derived"
"""What the `source` column of derived rows says."""

DAILY = "1day"
_PAGE = timedelta(days=366)
"""The days that are computed at once; their bars, and those of a year before, have to fit in memory."""


@dataclass
class Derived:
    """What was derived: of so many days with bars the `due` ones, and what a backfill made of their rows."""

    days: int
    due: list[date]
    backfilled: Backfilled = field(default_factory=lambda: Backfilled(FEATURES.name, ""))

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {**self.backfilled.document(), "days": self.days, "due": [day.isoformat() for day in self.due]}


@dataclass(frozen=True)
class Derive:
    """The parts of one derivation. `benchmark` is the asset class and symbol that beta is measured against."""

    hot: Hot
    lake: Lake
    spool: SpoolFactory
    lifecycle: Lifecycle
    as_of: date
    now: datetime
    run_id: str
    benchmark: tuple[str, str] = ("equity", "SPY")
    progress: Progress = SILENT
    on_published: Callable[[Moved], None] = lambda _: None

    def run(self, days: DayRange = ALL_DAYS, *, symbols: Collection[str] = (), full: bool = False) -> Derived:
        """Derive what is due on those days, or with `full` all of them; a day that says nothing new is not written.

        With `symbols` only their rows are derived, and the days stay due for all others.

        Raises:
            LakeError: Bars or earlier rows can't be read; what was published before is good, and nothing is lost.
        """
        looked_at, due = self._due(days, full=full)
        result = Derived(looked_at, sorted(due), Backfilled(FEATURES.name, self.run_id))
        if not due:
            return result
        span = DayRange(result.due[0], result.due[-1] + ONE_DAY)
        backfill = Backfill(
            source=_Derivations(self.hot, self.lake, result.due, self.benchmark),
            hot=self.hot,
            lake=self.lake,
            spool=self.spool,
            lifecycle=self.lifecycle,
            as_of=self.as_of,
            now=self.now,
            run_id=self.run_id,
            # The bars went by the rule for restatements; what follows from them is not asked about again.
            accept_restatements=True,
            progress=self.progress,
            on_published=self.on_published,
        )
        result.backfilled = backfill.run(FetchRequest(dataset_named(FEATURES.name), span, frozenset(symbols)))
        if not symbols:
            self._note(due, span)
        return result

    def _due(self, days: DayRange, *, full: bool) -> tuple[int, dict[date, str]]:
        """How many days there are, and those to derive, each with the word for what it is made of now."""
        from thermocline.model.features import REACH, RECIPE  # noqa: PLC0415  # numpy and Arrow, for a run alone

        noted = {partition.day: each for partition, each in self.hot.derivations(FEATURES).items()}
        bars = contents_by_day(self.hot, self.lake, MARKET_DATA, DAILY)
        splits = contents_by_day(self.hot, self.lake, SPLITS)
        known = {partition.day for partition in bars} | noted.keys()
        recipe = f"{RECIPE} {'/'.join(self.benchmark)}"
        inputs = digests([bars, splits], known, reach=REACH, recipe=recipe)
        asked = {day: inputs[day] for day in sorted(known) if day in days}
        if full or not asked:
            return len(asked), asked
        said = contents_by_day(self.hot, self.lake, FEATURES)
        due = {
            day: word
            for day, word in asked.items()
            if (note := noted.get(day)) is None or (note.inputs, note.content) != (word, said.get(note.partition, ""))
        }
        return len(asked), due

    def _note(self, due: Mapping[date, str], span: DayRange) -> None:
        """Keep what the days were made of as it was before their bars were read: rows that came since make them due."""
        said = contents_by_day(self.hot, self.lake, FEATURES, days=span)
        partitions = {day: Partition(FEATURES.name, "", day) for day in due}
        self.hot.note_derivations(
            [Derivation(partition, due[day], said.get(partition, "")) for day, partition in partitions.items()],
            run_id=self.run_id,
        )


def contents_by_day(
    hot: Hot, lake: Lake, dataset: Dataset, interval: str = "", *, days: DayRange = ALL_DAYS
) -> dict[Partition, str]:
    """The content fingerprint of every day as readers get it: of cold days by the ledger, of hot and late ones read."""
    (dataset,), intervals = applied(hot, [dataset]), (interval,) if interval else ()
    with hot.snapshot([dataset], days, intervals) as snapshot:
        live, unsettled = snapshot.live, {*snapshot.hot, *snapshot.late}
    unsettled = {each for each in unsettled if each.day in days and each.interval == interval}
    found = {
        vintage.partition: vintage.receipt.contents.content_fingerprint
        for vintage in live
        if vintage.partition not in unsettled
    }
    for run in _runs(sorted(each.day for each in unsettled)):
        asked = Query(dataset, midnight(run.start), midnight(run.end), intervals=intervals)
        with query(hot, lake, asked) as reader:
            rows = reader.read_all()
        for partition in partitions_of(dataset, rows):
            if partition in unsettled:
                contents = contents_of(dataset, rows_of(rows, partition).to_batches())
                found[partition] = contents.content_fingerprint
    return found


def _runs(days: Sequence[date]) -> Iterator[DayRange]:
    """Days in order as ranges without a long hole, none of them longer than a page."""
    start = 0
    for at in range(1, len(days) + 1):
        if at == len(days) or days[at] - days[at - 1] > timedelta(days=7) or days[at] - days[start] >= _PAGE:
            yield DayRange(days[start], days[at - 1] + ONE_DAY)
            start = at


@dataclass(frozen=True)
class _Derivations:
    """A source of what follows from bars that are there; its rows go through all that any other source's do."""

    hot: Hot
    lake: Lake
    due: Sequence[date]
    benchmark: tuple[str, str]

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return NAME

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """See `Source.fetch`."""
        import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it
        import pyarrow.compute as pc  # noqa: PLC0415

        from thermocline.model.features import REACH, features_of  # noqa: PLC0415  # as above

        due = pa.array([midnight(day) for day in self.due], FEATURES.arrow_schema.field("ts").type)
        splits = self._read(Query(SPLITS))
        symbols = tuple(sorted({*request.symbols, self.benchmark[1]})) if request.symbols else ()
        for days in _runs(self.due):
            first, end = midnight(days.start), midnight(days.end)
            bars = Query(
                MARKET_DATA,
                first - REACH,
                end,
                symbols,
                (DAILY,),
                ("asset_class", "symbol", "ts", "close"),
            )
            rows = features_of(self._read(bars), splits, days, benchmark=self.benchmark)
            rows = _over(self._read(Query(request.dataset, first, end, tuple(sorted(request.symbols)))), rows)
            yield Fetched(rows.filter(pc.is_in(rows["ts"], value_set=due)), f"bars up to {days.end - ONE_DAY}")

    def _read(self, asked: Query) -> "pa.Table":
        with query(self.hot, self.lake, asked) as reader:
            return reader.read_all()


def _over(present: "pa.Table", derived: "pa.Table") -> "pa.Table":
    """Derived rows with every other column as it is; a derived row whose bar is gone keeps those columns alone.

    Where no bar is, a row of another source stays as it is: what it says of these columns was never made here.
    """
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it
    import pyarrow.compute as pc  # noqa: PLC0415

    from thermocline.model.features import DERIVED  # noqa: PLC0415  # as above

    if not len(present):
        return derived
    key = list(FEATURES.key)
    others = [name for name in dataset_named(FEATURES.name).content if name not in {*key, *DERIVED}]
    joined = derived.join(present.select([*key, *others]), key)
    had_any = pc.is_valid(pc.coalesce(*(pc.cast(present[name], pa.float64()) for name in DERIVED)))
    was_derived = pc.and_(had_any, pc.equal(present["source"], NAME))
    without_bar = present.filter(was_derived).select([*key, *others])
    without_bar = without_bar.join(derived.select(key), key, join_type="left anti")
    blank = [pa.nulls(len(without_bar), derived[name].type) for name in DERIVED]
    for name, nulls in zip(DERIVED, blank, strict=True):
        without_bar = without_bar.append_column(name, nulls)
    return pa.concat_tables([joined, without_bar.select(joined.column_names)])
