"""What was live, from what the lake says alone: the journal beside a table, and the table as far as it can be read.

A line of the journal is written before the commit it speaks of. Whether the commit came true is told, in this order:

1. by the table: it has a snapshot on top of the head that the commit builds on, and that is the commit's own or not;
2. by the next commit: where it builds on another head the commit came true, where on the same it did not;
3. by nothing: the last commit, if the table can't be read that far. It is *doubtful*.

Up to the snapshot that can be read, the table decides which objects were live, and the journal what they held and what
was before. After it, and where no table can be read, the journal decides alone. Lines that settle the table, and lines
that no commit goes with, hold as they stand.

A vintage that was written and verified but that nothing proves to have been live is doubtful, whatever the reason: its
commit did not come true, or no ledger accepted it. If it is the last word of the journal on its day it may hold rows
that are nowhere else, because they were in PostgreSQL when the run that wrote it died. Whoever rebuilds the ledger
reads it then, and adopts it where it lacks nothing of what is live for certain.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

from thermocline.model.journal import Entry, Event
from thermocline.model.partition import Partition
from thermocline.model.receipt import Receipt, Vintage, VintageState


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A table as one of its metadata files has it.

    `commits` are the snapshots that lead to `head` and are still known, each as the head it was built on and the run
    that made it. `is_registered` says whether the catalog names this file, `location` which one it is; empty where the
    catalog can't name it, because the lake was moved.
    """

    head: str
    at: datetime
    paths: frozenset[str]
    commits: Sequence[tuple[str, str]]
    location: str
    is_registered: bool


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Vintages in one object of one commit, of which nothing proves that they were ever live: all of them, or none."""

    entries: tuple[Entry, ...]

    @property
    def receipts(self) -> list[Receipt]:
        """What they hold."""
        return [entry.receipt for entry in self.entries if entry.receipt]


@dataclass
class _Day:
    vintages: dict[int, Vintage] = field(default_factory=dict)
    live: int | None = None

    def published(self, receipt: Receipt, at: datetime) -> None:
        self.ended(at)
        held = self.vintages.get(receipt.version)
        self.vintages[receipt.version] = Vintage(receipt, at, reason=held.reason if held else "")
        self.live = receipt.version

    def ended(self, at: datetime) -> None:
        if self.live is not None:
            self.vintages[self.live] = replace(self.vintages[self.live], superseded_at=at)
        self.live = None

    def dropped_after(self, version: int) -> list[int]:
        """Forget what was published after that version; nobody accepted it."""
        published = [v for v, known in self.vintages.items() if known.state is VintageState.PUBLISHED]
        dropped = [v for v in published if v > version and (version or v == self.live)]
        for each in dropped:
            del self.vintages[each]
            self.live = None if self.live == each else self.live
        return dropped


class Rebuilt:
    """The ledger's vintages as the lake alone knows them.

    `unknown` are objects of the table that the journal does not speak of: `add` what they turn out to hold. `doubtful`
    is to be looked at, and to be given to `adopt` where it is good.
    """

    def __init__(self, entries: Sequence[Entry], table: TableVersion | None) -> None:
        """Go through the journal, oldest first."""
        self._days: dict[Partition, _Day] = {}
        self._entries = list(entries)
        self._first: dict[tuple[Partition, int], datetime] = {}
        self._doubts: list[Entry] = []
        self._words: dict[Partition, Entry] = {}
        self._left: set[str] = set()
        self.unknown: list[str] = []
        for entry in entries:
            if entry.receipt:
                self._first.setdefault((entry.partition, entry.version), entry.at)
        commits = _commits(entries)
        happened = _happened(commits, table)
        after = _after(commits, table)
        for number, commit in enumerate(commits):
            if number == after:
                self._agree_with(table)
            for entry in commit:
                self._follow(entry, came_true=happened[number])
        if after == len(commits):
            self._agree_with(table)

    @property
    def vintages(self) -> list[Vintage]:
        """Every vintage, by partition and version."""
        days = sorted(self._days.items())
        return [vintage for _, day in days for _, vintage in sorted(day.vintages.items())]

    @property
    def live(self) -> list[Vintage]:
        """The live vintage of every day that has one."""
        return [day.vintages[day.live] for _, day in sorted(self._days.items()) if day.live is not None]

    def live_of(self, partition: Partition) -> Vintage | None:
        """The live vintage of a day."""
        day = self._days.get(partition)
        return None if day is None or day.live is None else day.vintages[day.live]

    @property
    def unnamed(self) -> frozenset[str]:
        """Objects that vintages were moved out of and that none of them needs any more."""
        states = {VintageState.PUBLISHED, VintageState.HELD}
        return frozenset(self._left) - {v.receipt.path for v in self.vintages if v.state in states}

    @property
    def doubtful(self) -> list[Doubtful]:
        """What the journal says last of its days without any proof, oldest first, by object."""
        groups: dict[tuple[datetime, str, str], list[Entry]] = {}
        for entry in sorted(self._doubts, key=lambda entry: entry.at):
            if entry.receipt:
                groups.setdefault((entry.at, entry.run_id, entry.receipt.path), []).append(entry)
        return [Doubtful(tuple(found)) for found in groups.values() if all(map(self._may_be_live, found))]

    def add(self, receipts: Iterable[Receipt], at: datetime) -> None:
        """Make vintages live that the table names and the journal does not know."""
        for receipt in receipts:
            self._day(receipt.partition).published(receipt, at)

    def adopt(self, doubtful: Doubtful) -> None:
        """Take vintages for live, from the moment at which the journal speaks of them."""
        for entry in doubtful.entries:
            if entry.receipt and entry.event is Event.RELOCATE:
                self._relocate(entry.receipt)
            elif entry.receipt:
                self._day(entry.partition).published(entry.receipt, entry.at)

    def _day(self, partition: Partition) -> _Day:
        return self._days.setdefault(partition, _Day())

    def _may_be_live(self, entry: Entry) -> bool:
        day = self._day(entry.partition)
        last, known = self._words.get(entry.partition), day.vintages.get(entry.version)
        if last is not entry or (known and known.state in {VintageState.REJECTED, VintageState.EXPIRED}):
            return False
        if entry.event is Event.RELOCATE:
            return day.live == entry.version
        ever = [v for v, each in day.vintages.items() if each.state in {VintageState.PUBLISHED, VintageState.EXPIRED}]
        return entry.version > max(ever, default=0)

    # --------------------------------------------------------------------------------------- one line of the journal

    def _follow(self, entry: Entry, *, came_true: bool) -> None:
        acts: dict[Event, Callable[[Entry], None]] = {
            Event.SETTLE: self._settle,
            Event.HOLD: self._hold,
            Event.REJECT: lambda entry: self._mark(entry, VintageState.REJECTED),
            Event.EXPIRE: lambda entry: self._mark(entry, VintageState.EXPIRED),
        }
        if entry.event in acts:
            acts[entry.event](entry)
            return
        if came_true or entry.event is not Event.WITHDRAW:
            self._words[entry.partition] = entry
        day = self._day(entry.partition)
        match entry.event:
            case _ if not came_true:
                self._doubts.append(entry)
            case Event.PUBLISH if entry.receipt:
                day.published(entry.receipt, entry.at)
            case Event.RELOCATE if entry.receipt:
                self._relocate(entry.receipt)
            case Event.WITHDRAW:
                day.ended(entry.at)

    def _relocate(self, receipt: Receipt) -> None:
        day = self._day(receipt.partition)
        known = day.vintages.get(receipt.version)
        if known is None:
            day.published(receipt, self._first_at(receipt))
            return
        self._left.add(known.receipt.path)
        day.vintages[receipt.version] = replace(known, receipt=receipt)

    def _settle(self, entry: Entry) -> None:
        day = self._day(entry.partition)
        self._doubt(entry.partition, day.dropped_after(entry.version))
        if entry.receipt:
            self._make_live(entry.receipt)

    def _make_live(self, receipt: Receipt) -> None:
        """Whatever the journal made of it, this is the live vintage of its day."""
        day, version = self._day(receipt.partition), receipt.version
        known = day.vintages.get(version)
        at = known.published_at if known and known.state is not VintageState.HELD else self._first_at(receipt)
        if day.live is not None and day.live != version:
            day.ended(at)
        day.vintages[version] = Vintage(receipt, at)
        day.live = version

    def _hold(self, entry: Entry) -> None:
        if entry.receipt:
            held = Vintage(entry.receipt, entry.at, None, VintageState.HELD, entry.reason)
            self._day(entry.partition).vintages[entry.version] = held

    def _mark(self, entry: Entry, state: VintageState) -> None:
        day = self._day(entry.partition)
        known = day.vintages.get(entry.version)
        if known is None and entry.receipt:
            known = Vintage(entry.receipt, self._first_at(entry.receipt), entry.at)
        if state is VintageState.EXPIRED and day.live == entry.version and self._may_be_withdrawn(entry):
            day.ended(entry.at)
        if known and day.live != entry.version:
            day.vintages[entry.version] = replace(known, state=state, reason=entry.reason or known.reason)

    def _may_be_withdrawn(self, entry: Entry) -> bool:
        """Whether a version was to be withdrawn before. It was then: what is live does not expire."""
        told = (each for each in self._doubts if each.partition == entry.partition)
        return any((each.event, each.version) == (Event.WITHDRAW, entry.version) for each in told)

    def _first_at(self, receipt: Receipt) -> datetime:
        return self._first[receipt.partition, receipt.version]

    def _doubt(self, partition: Partition, versions: Iterable[int]) -> None:
        """Take back what the journal had made live: the last line that did is a doubt from now on."""
        for version in versions:
            lines = (e for e in reversed(self._entries) if (e.partition, e.version) == (partition, version))
            self._doubts += [e for e in lines if e.event is Event.PUBLISH][:1]

    # --------------------------------------------------------------------------------------------------- the table

    def _agree_with(self, table: TableVersion | None) -> None:
        """Let the table decide what was live when it was written."""
        if table is None:
            return
        for partition, day in self._days.items():
            if day.live is not None and day.vintages[day.live].receipt.path not in table.paths:
                gone = day.live
                del day.vintages[gone]
                day.live = None
                self._doubt(partition, [gone])
        named = {vintage.receipt.path for vintage in self.live}
        for path in sorted(table.paths - named):
            # Of each partition that ever lay in the object, the last line says what it holds of it.
            receipts = {e.partition: e.receipt for e in self._entries if e.receipt and e.receipt.path == path}
            for receipt in receipts.values():
                self._make_live(receipt)
            if not receipts:
                self.unknown.append(path)


def _commits(entries: Sequence[Entry]) -> list[list[Entry]]:
    return [list(commit) for _, commit in groupby(entries, key=lambda entry: (entry.at, entry.run_id, entry.head))]


def _happened(commits: Sequence[Sequence[Entry]], table: TableVersion | None) -> list[bool]:
    """For each commit whether it is proved that it came true."""
    children = dict(table.commits) if table else {}
    proved = []
    following: str | None = None
    same_again: set[tuple[str, str]] = set()
    for commit in reversed(commits):
        head, run_id = commit[0].head, commit[0].run_id
        if head is None:
            proved.append(True)
            continue
        if head in children:
            proved.append(children[head] == run_id and (head, run_id) not in same_again)
        else:
            proved.append(following not in {None, head})
        following = head
        same_again.add((head, run_id))
    return proved[::-1]


def _after(commits: Sequence[Sequence[Entry]], table: TableVersion | None) -> int:
    """The number of the first commit that builds on the table as it can be read."""
    return next((n for n, commit in enumerate(commits) if table and commit[0].head == table.head), len(commits))
