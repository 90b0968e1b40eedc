"""Tiers: in which storage classes the lake lies, where its objects are due, and moving them there.

What there is comes from one listing of each dataset and from the ledger, which says which days an object holds; no
object is asked for by itself. Objects that no kept version names are left to `expire`. What is to happen is decided in
`model.tiering`; here it is gathered, and done exactly as it was shown.

A transition in a bucket changes no path and no byte, so it needs no writer's lock: rotation, compaction and backfill go
on beside it, and readers get the same rows before, meanwhile and after. Each is conditional on the object that was
surveyed. In a folder, an object comes to another class by being written anew, see `recompress`. Days whose retention is
over are taken out of the lake as its writer does; see `retire`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date

from thermocline.errors import LakeError, PlanDriftError, RequestBudgetError, ThermoclineError, UsageError
from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.prices import PriceBook
from thermocline.model.receipt import StoredObject
from thermocline.model.retention import RetentionPolicy
from thermocline.model.storage_classes import Provider, classes_of, first_class
from thermocline.model.tier_simulation import Growth, Stream
from thermocline.model.tiering import Removal, TieredObject, Transition, plan_tiers
from thermocline.ports import SILENT, Act, Classes, Hot, Lake, Progress
from thermocline.tasks.periods import TARGET_BYTES, due_paths
from thermocline.tasks.recompress import Recompression, Rewritten
from thermocline.tasks.retire import KEPT, busy_days, by_path, retire
from thermocline.tasks.tiered import Held, NotMoved, Planned, Shown, Surveyed, Tiered

TIERING = "tiering"
"""What the lock of an `apply` is called."""

MAX_REQUESTS = 10_000
THREADS = 16
_LOGGED_TOGETHER = 100
_YEAR_DAYS = 365


@dataclass(frozen=True)
class Tiering:
    """The parts of one look at the tiers, or of one run. `days` and `intervals` (none: all) choose objects.

    An object is of the day of the youngest rows in it, so that each belongs to one month. With a
    `lifecycle`, objects that compaction is about to bring together stay where they are until it has.
    """

    hot: Hot
    lake: Lake
    policy: RetentionPolicy
    prices: PriceBook
    as_of: date
    days: DayRange = ALL_DAYS
    intervals: Collection[str] = ()
    max_requests: int = MAX_REQUESTS
    threads: int = THREADS
    wait_seconds: float = 60.0
    lifecycle: Lifecycle | None = None
    target_bytes: int = TARGET_BYTES
    progress: Progress = SILENT
    on_moved: Callable[[Transition], None] = lambda _: None

    @property
    def provider(self) -> Provider:
        """Whose storage classes the lake has."""
        return self.lake.classes.provider if self.lake.classes else Provider.LOCAL

    def survey(self, datasets: Sequence[Dataset]) -> Surveyed:
        """What lies there, from the ledger and one listing of each dataset."""
        objects: list[TieredObject] = []
        stored: dict[str, StoredObject] = {}
        days_in: dict[str, frozenset[Partition]] = {}
        unnamed: list[StoredObject] = []
        missing: list[str] = []
        strange: list[StoredObject] = []
        known = {"", *(each.name for each in classes_of(self.provider))}
        for dataset in datasets:
            # The ledger first: what is written meanwhile then looks as if it had no name, and is left alone.
            kept = by_path(self.hot.vintages(dataset, ALL_DAYS, states=KEPT))
            found = {each.path: each for each in self.lake.survey(dataset)}
            busy, due = busy_days(self.hot, dataset), self._due_for_compaction(dataset, found.values())
            for path, vintages in kept.items():
                days = frozenset(vintage.partition for vintage in vintages)
                if not self._chooses(max(days)):
                    continue
                if path not in found:
                    missing.append(path)
                    continue
                if found[path].storage_class not in known:
                    strange.append(found[path])
                    continue
                stored[path], days_in[path] = found[path], days
                is_live = any(vintage.is_live for vintage in vintages)
                made = self._object(found[path], days, busy, is_due_for_compaction=path in due, is_live=is_live)
                objects.append(made)
            unnamed += [each for path, each in found.items() if path not in kept]
        return Surveyed(objects, stored, days_in, unnamed, missing, strange)

    def show(self, datasets: Sequence[Dataset]) -> Shown:
        """In which classes the lake lies, what that costs, and what is due; changes nothing."""
        planned = self.plan(datasets)
        found: dict[tuple[str, str], list[TieredObject]] = {}
        for each in planned.surveyed.objects:
            found.setdefault((each.dataset, each.storage_class), []).append(each)
        held = [
            Held(
                dataset,
                name,
                len(objects),
                sum(each.size_bytes for each in objects),
                sum(self.prices.storage_usd_per_month(name, each.size_bytes) for each in objects),
            )
            for (dataset, name), objects in found.items()
        ]
        order = [each.name for each in classes_of(self.provider)]
        return Shown(planned, sorted(held, key=lambda each: (each.dataset, order.index(each.storage_class))))

    def plan(self, datasets: Sequence[Dataset]) -> Planned:
        """What `apply` would do; changes nothing."""
        surveyed = self.survey(datasets)
        plan = plan_tiers(surveyed.objects, self.policy, self.provider, self.prices, self.as_of)
        kept = [self.policy.of(dataset.name) for dataset in datasets]
        has_policy = any(each.steps or each.delete_after_days is not None for each in kept)
        return Planned(plan.spread(self.max_requests), surveyed, has_policy)

    def apply(self, datasets: Sequence[Dataset], digest: str, *, run_id: str) -> Tiered:
        """Do what the plan of that digest says, and nothing else.

        Objects that can't be moved are named, others go on. What is left over is done by the next run, and so is what
        a run that died did not come to.

        Raises:
            PlanDriftError: What is to be done is not what that plan says any more; nothing was changed.
            LockTimeoutError: Another run is moving objects of one of the datasets.
        """
        with ExitStack() as alone, self.lake.run(run_id):
            for dataset in sorted(datasets, key=lambda dataset: dataset.name):
                alone.enter_context(self.hot.alone(TIERING, dataset, wait_seconds=self.wait_seconds))
            planned = self.plan(datasets)
            if planned.digest != digest:
                msg = (
                    f"what is due in the lake is not what the plan {digest} says any more: it is now {planned.digest}; "
                    "nothing was changed. Look at it again with `thermocline tiers plan`, then apply that"
                )
                raise PlanDriftError(msg)
            result = Tiered(run_id, planned)
            self._retire(result)
            if result.stopped:
                return result
            if self.provider is Provider.LOCAL:
                self._rewrite(result)
            else:
                self._move(result)
            return result

    def _chooses(self, youngest: Partition) -> bool:
        return youngest.day in self.days and (not self.intervals or youngest.interval in self.intervals)

    def _object(
        self,
        stored: StoredObject,
        days: Collection[Partition],
        busy: Mapping[Partition, str],
        *,
        is_due_for_compaction: bool,
        is_live: bool,
    ) -> TieredObject:
        youngest = max(days)
        going_on = min(busy.keys() & days, default=None)
        return TieredObject(
            dataset=youngest.dataset,
            interval=youngest.interval,
            path=stored.path,
            storage_class=stored.storage_class or first_class(self.provider).name,
            size_bytes=stored.size_bytes,
            first_day=min(days).day,
            last_day=youngest.day,
            stored_at=stored.modified_at,
            is_due_for_compaction=is_due_for_compaction,
            readable_until=stored.readable_until,
            etag=stored.etag,
            is_live=is_live,
            busy=f"{going_on} {busy[going_on]}" if going_on else "",
        )

    def _due_for_compaction(self, dataset: Dataset, found: Collection[StoredObject]) -> Collection[str]:
        """The objects that compaction is about to bring together with others; none where it is not asked for."""
        if self.lifecycle is None:
            return ()
        facts = {each.name: each for each in classes_of(self.provider)}
        archived = [
            each.path for each in found if each.storage_class in facts and not facts[each.storage_class].is_read_at_once
        ]
        return due_paths(
            self.hot,
            dataset,
            self.lifecycle,
            as_of=self.as_of,
            target_bytes=self.target_bytes,
            archived=archived,
        )

    def _retire(self, result: Tiered) -> None:
        """Let the objects go whose retention is over."""
        days_in = result.planned.surveyed.days_in
        going: dict[str, list[Removal]] = {}
        for removal in result.planned.plan.removals:
            going.setdefault(removal.object.dataset, []).append(removal)
        for name, removals in going.items():
            paths = {removal.object.path: days_in[removal.object.path] for removal in removals}
            try:
                left = retire(self.hot, self.lake, dataset_named(name), paths, run_id=result.run_id)
            except RequestBudgetError as error:
                result.stopped = str(error)
                return
            except (ThermoclineError, OSError) as error:  # other datasets, and what is to move, go on
                left = dict.fromkeys(paths, str(error))
            for removal in removals:
                if reason := left.get(removal.object.path):
                    result.failed.append(NotMoved(removal.object, "", reason))
                else:
                    result.removed.append(removal)

    def _move(self, result: Tiered) -> None:
        """Move objects, several at once; what was moved is in the audit log, however this ends."""
        moves = result.planned.plan.transitions
        self.progress.begin("moving objects", len(moves))
        unlogged: list[Transition] = []
        pool = ThreadPoolExecutor(self.threads)
        try:
            waiting = {pool.submit(self._transition, move, result.planned): move for move in moves}
            for future in as_completed(waiting):
                if self._noted(waiting.pop(future), future, result):
                    unlogged.append(result.moved[-1])
                if len(unlogged) >= _LOGGED_TOGETHER:
                    self._log(unlogged, result.run_id)
                if result.stopped:
                    break
        finally:
            # Those that are on their way come to their end; a person who stops the run waits for no others.
            pool.shutdown(cancel_futures=True)
            for future, move in waiting.items():
                if not future.cancelled() and self._noted(move, future, result):
                    unlogged.append(move)
            self._log(unlogged, result.run_id)

    def _rewrite(self, result: Tiered) -> None:
        """Write objects of a folder anew, which is how they come to another class there."""
        moves = {(each.object.dataset, each.object.path): each for each in result.planned.plan.transitions}
        self.progress.begin("writing objects anew", len(moves))
        going: dict[tuple[str, str], list[str]] = {}
        for move in moves.values():
            going.setdefault((move.object.dataset, move.to), []).append(move.object.path)
        unlogged: list[Transition] = []
        for (name, to), paths in going.items():

            def done(rewritten: Rewritten, name: str = name) -> None:
                move = moves[name, rewritten.path]
                result.moved.append(move)
                unlogged.append(move)
                self.on_moved(move)

            try:
                made = Recompression(self.hot, self.lake, to, self.progress, done).run(
                    dataset_named(name), paths, run_id=result.run_id
                )
                result.failed += [NotMoved(moves[name, path].object, to, reason) for path, reason in made.left.items()]
            except RequestBudgetError as error:
                result.stopped = str(error)
                return
            except (ThermoclineError, OSError) as error:
                there = [path for path in paths if moves[name, path] not in result.moved]
                result.failed += [NotMoved(moves[name, path].object, to, str(error)) for path in there]
            finally:
                self._log(unlogged, result.run_id)

    def _transition(self, move: Transition, planned: Planned) -> None:
        classes = _classes(self.lake)
        with step(Step.TRANSITION):
            classes.transition(planned.surveyed.stored[move.object.path], move.to)

    def _noted(self, move: Transition, future: "Future[None]", result: Tiered) -> bool:
        """Whether an object was moved; else why not is noted."""
        self.progress.advance()
        try:
            future.result()
        except RequestBudgetError as error:
            result.stopped = str(error)
        except FileNotFoundError:
            result.failed.append(NotMoved(move.object, move.to, "it was deleted meanwhile"))
        except (ThermoclineError, OSError) as error:
            result.failed.append(NotMoved(move.object, move.to, str(error)))
        else:
            result.moved.append(move)
            self.on_moved(move)
            return True
        return False

    def _log(self, moved: list[Transition], run_id: str) -> None:
        """Append what was moved to the audit log, and forget it here."""
        if moved:
            self.hot.record(*(Act("transition", None, run_id, transition.document()) for transition in moved))
            moved.clear()


def growth_of(surveyed: Surveyed, *, begin: date, years: int, growth_per_year: float = 0.0) -> Growth:
    """A lake that grows from nothing as this one did in the last year of its days.

    Days are taken for as large as they are once they share an object, where there are any: small ones take several
    times the room while each has an object of its own, which compaction ends.

    Raises:
        LakeError: There is nothing to tell how it grows.
    """
    series: dict[tuple[str, str], list[TieredObject]] = {}
    for each in surveyed.objects:
        series.setdefault((each.dataset, each.interval), []).append(each)
    streams = []
    for (dataset, interval), all_objects in sorted(series.items()):
        objects = [each for each in all_objects if each.first_day < each.last_day] or all_objects
        newest = max(each.last_day for each in objects)
        recent = [each for each in objects if (newest - each.last_day).days < _YEAR_DAYS]
        days = (newest - min(each.first_day for each in recent)).days + 1
        a_day = round(sum(each.size_bytes for each in recent) / days)
        streams.append(Stream(dataset, max(a_day, 1), interval, growth_per_year))
    if not streams:
        msg = "the lake holds nothing of these, so nothing tells how it grows; `thermocline backfill` fills it"
        raise LakeError(msg)
    return Growth(streams, begin, years)


def _classes(lake: Lake) -> Classes:
    if lake.classes is None:
        msg = f"{lake.url} has no storage classes that objects could be moved between"
        raise UsageError(msg)
    return lake.classes
