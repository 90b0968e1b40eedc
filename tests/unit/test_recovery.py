"""What journal and table together tell, whatever died and whatever was lost."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import DAY, NOON

from thermocline.model.journal import Entry, Event, entries_of
from thermocline.model.partition import Partition
from thermocline.model.paths import month_path, object_path
from thermocline.model.receipt import Contents, Receipt, VintageState
from thermocline.model.recovery import Rebuilt, TableVersion


def day(number: int) -> Partition:
    return Partition("market_data", "1day", DAY + timedelta(days=number))


def receipt(number: int, version: int, path: str = "") -> Receipt:
    nothing = Contents(1, NOON, NOON, {}, f"{version:032x}", f"{version:032x}")
    return Receipt(day(number), version, path or object_path(day(number), version), 1, "", "", 1, "run", nothing)


class World:
    """A ledger, a table and a journal as runs leave them, some of which die."""

    def __init__(self) -> None:
        """Nothing was ever published."""
        self.live: dict[int, int] = {}
        self.table: dict[int, int] = {}
        self.head, self.noted, self.clock = "", "", 0
        self.newest: dict[int, int] = {}
        self.entries: list[Entry] = []
        self.snapshots: list[TableVersion | None] = [None]
        self.dead: set[tuple[int, int]] = set()

    def _tell(self, event, receipts, withdrawn=()) -> None:
        self.clock += 1
        at, run = NOON + timedelta(minutes=self.clock), f"run-{self.clock}"
        self.entries += entries_of(event, receipts, at=at, run_id=run, head=self.head)
        last = Event.SETTLE if event is Event.SETTLE else Event.WITHDRAW
        self.entries += [
            Entry(last, at, run, day(n), 0 if last is Event.SETTLE else self.live[n], head=self.head) for n in withdrawn
        ]

    def _commit(self, changed, withdrawn=()) -> None:
        self.table = {n: v for n, v in (self.table | changed).items() if n not in withdrawn}
        before, self.head = self.head, str(len(self.snapshots))
        earlier = self.snapshots[-1].commits if self.snapshots[-1] else []
        paths = frozenset(object_path(day(n), v) for n, v in self.table.items())
        at = NOON + timedelta(minutes=self.clock, seconds=1)
        commits = [*earlier, (before, f"run-{self.clock}")]
        self.snapshots.append(TableVersion(self.head, at, paths, commits, "x", is_registered=True))

    def settle(self) -> None:
        """What every run does first."""
        if self.head == self.noted:
            return
        added = {n: v for n, v in self.live.items() if self.table.get(n) != v}
        gone = [n for n in self.table if n not in self.live]
        if added or gone:
            self._tell(Event.SETTLE, [receipt(n, v) for n, v in added.items()], gone)
            self._commit(added, gone)
        self.noted = self.head

    def publish(self, numbers, dies: str) -> None:
        """New vintages of some days; the run may die before its commit to the table, or before the ledger's."""
        self.settle()
        # A run that died before the ledger knew has taken its object's name, so the next one gets a later version.
        changed = {n: max([self.newest.get(n, 0), *(v for d, v in self.dead if d == n)]) + 1 for n in numbers}
        self._tell(Event.PUBLISH, [receipt(n, v) for n, v in changed.items()])
        if dies:
            self.dead |= set(changed.items())
        if dies != "before":
            self._commit(changed)
        if not dies:
            self.live |= changed
            self.newest |= changed
            self.noted = self.head

    def withdraw(self, number: int) -> None:
        """A day is deleted."""
        self.settle()
        if number in self.live:
            self._tell(Event.WITHDRAW, [], [number])
            self._commit({}, [number])
            del self.live[number]
            self.noted = self.head


ACTS = st.one_of(
    st.tuples(
        st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True), st.sampled_from(["", "before", "after"])
    ),
    st.integers(0, 3),
)


@settings(max_examples=300, deadline=None)
@given(acts=st.lists(ACTS, max_size=12), lost=st.integers(0, 13), with_table=st.booleans())
def test_no_day_that_was_live_is_lost_or_older_and_none_that_was_not_comes_back(acts, lost, with_table):
    world = World()
    for act in acts:
        if isinstance(act, int):
            world.withdraw(act)
        else:
            world.publish(*act)
    known = world.snapshots[: max(1, len(world.snapshots) - lost)]
    table = known[-1] if with_table else None
    rebuilt = Rebuilt(world.entries, table)
    if table and table is world.snapshots[-1]:
        assert {v.receipt.path for v in rebuilt.live} == table.paths
    for doubtful in rebuilt.doubtful:
        rebuilt.adopt(doubtful)
    found = {(v.partition.day - DAY).days: v.receipt.version for v in rebuilt.live}
    for number, version in world.live.items():
        assert number in found
        assert found[number] == version or (found[number] > version and (number, found[number]) in world.dead)
    # What a dead run archived last may be the only copy of rows that were hot then.
    words = {e.partition: e for e in world.entries if e.event in {Event.PUBLISH, Event.WITHDRAW}}
    for number, version in world.dead:
        if (words[day(number)].event, words[day(number)].version) == (Event.PUBLISH, version):
            assert found[number] == version
    # The last commit of all can't be proved by a later one; if it withdrew a day, only its snapshot tells.
    last = world.entries[-1] if world.entries else None
    unproved = last.partition if last and last.event is Event.WITHDRAW and table is not world.snapshots[-1] else None
    for number in found.keys() - world.live.keys():
        assert (number, found[number]) in world.dead or day(number) == unproved
    versions = [(v.partition, v.receipt.version) for v in rebuilt.vintages]
    assert len(versions) == len(set(versions))


def told(*events) -> list[Entry]:
    """Lines of a journal, each a commit that the next one proves."""
    return [
        replace(entry, at=NOON + timedelta(minutes=number), head=str(number))
        for number, (event, entry_receipts) in enumerate(events)
        for entry in entries_of(event, entry_receipts, at=NOON, run_id="run")
    ]


def test_a_vintage_is_where_it_was_moved_to_and_its_old_object_is_needed_no_more():
    month = month_path("market_data", "1day", DAY, 1)
    days, moved = [receipt(0, 1), receipt(1, 1)], [receipt(0, 1, month), receipt(1, 1, month)]
    rebuilt = Rebuilt(
        told((Event.PUBLISH, days), (Event.RELOCATE, moved), (Event.PUBLISH, [receipt(5, 1)]), (Event.HOLD, [])), None
    )
    assert [v.receipt.path for v in rebuilt.live[:2]] == [month, month]
    assert {v.published_at for v in rebuilt.live[:2]} == {NOON}
    assert rebuilt.unnamed == {each.path for each in days}


def test_an_object_that_days_share_is_adopted_whole_or_not_at_all():
    month = month_path("market_data", "1day", DAY, 1)
    days, moved = [receipt(0, 1), receipt(1, 1)], [receipt(0, 1, month), receipt(1, 1, month)]
    both = Rebuilt(told((Event.PUBLISH, days), (Event.RELOCATE, moved)), None)
    assert [each.receipts for each in both.doubtful] == [moved]
    later = told((Event.PUBLISH, days), (Event.RELOCATE, moved))
    restated = [
        replace(entry, at=NOON + timedelta(hours=1), head="1") for entry in told((Event.PUBLISH, [receipt(1, 2)]))
    ]
    rebuilt = Rebuilt(later + restated, None)
    assert [each.receipts for each in rebuilt.doubtful] == [[receipt(1, 2)]]
    assert [v.receipt for v in rebuilt.live] == days


def test_days_that_a_table_names_in_a_shared_object_are_found_by_their_receipts():
    month = month_path("market_data", "1day", DAY, 1)
    moved = [receipt(0, 1, month), receipt(1, 1, month)]
    table = TableVersion("9", NOON, frozenset({month, "unknown.parquet"}), [("8", "other")], "x", is_registered=True)
    rebuilt = Rebuilt(told((Event.RELOCATE, moved)), table)
    assert [v.receipt for v in rebuilt.live] == moved
    assert rebuilt.unknown == ["unknown.parquet"]


def test_a_held_vintage_that_was_accepted_is_live_and_one_that_was_rejected_never():
    held, refused = receipt(0, 2), receipt(0, 3)
    lines = told((Event.PUBLISH, [receipt(0, 1)]), (Event.HOLD, [held, refused]))
    lines += [
        replace(entry, at=NOON + timedelta(hours=1))
        for entry in told((Event.REJECT, [refused]), (Event.PUBLISH, [held]))
    ]
    rebuilt = Rebuilt(lines, None)
    for doubtful in rebuilt.doubtful:
        rebuilt.adopt(doubtful)
    assert [(v.receipt.version, v.state, v.is_live) for v in rebuilt.vintages] == [
        (1, VintageState.PUBLISHED, False),
        (2, VintageState.PUBLISHED, True),
        (3, VintageState.REJECTED, False),
    ]
