"""The journal beside a table: what became of each vintage, in the lake itself, so that a ledger can be made anew."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from thermocline.model.partition import Partition
from thermocline.model.receipt import Receipt


class Event(StrEnum):
    """What happened to a vintage."""

    PUBLISH = "publish"  # it is to be live with the commit that follows; superseding the one before it
    RELOCATE = "relocate"  # its rows lie in another object with the commit that follows
    WITHDRAW = "withdraw"  # the day is not cold any more; the version is the last one that was live
    HOLD = "hold"  # it waits for a person
    REJECT = "reject"
    EXPIRE = "expire"
    SETTLE = "settle"  # the table is made to say what the ledger says; without a receipt: nothing of that day


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. Written before the commit it speaks of, so the last ones may never have come true.

    `receipt` is None where a day is withdrawn. `head` is the table's head that the commit builds on, None where no
    commit goes with it: the next commit's head tells whether this one came true, since it is another one then.
    """

    event: Event
    at: datetime
    run_id: str
    partition: Partition
    version: int
    receipt: Receipt | None = None
    reason: str = ""
    head: str | None = None

    def to_json(self) -> str:
        """One line of JSON."""
        document: dict[str, Any] = {
            "event": self.event.value,
            "at": self.at.isoformat(),
            "run_id": self.run_id,
            "partition": str(self.partition),
            "version": self.version,
        }
        if self.head is not None:
            document["head"] = self.head
        if self.reason:
            document["reason"] = self.reason
        if self.receipt:
            document["receipt"] = self.receipt.document()
        return json.dumps(document, sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The entry that `to_json` wrote."""
        document: dict[str, Any] = json.loads(line)
        receipt = document.get("receipt")
        return cls(
            event=Event(document["event"]),
            at=datetime.fromisoformat(document["at"]),
            run_id=document["run_id"],
            partition=Partition.parse(document["partition"]),
            version=document["version"],
            receipt=Receipt.of(receipt) if receipt else None,
            reason=document.get("reason", ""),
            head=document.get("head"),
        )


def entries_of(
    event: Event,
    receipts: Iterable[Receipt],
    *,
    at: datetime,
    run_id: str,
    reason: str = "",
    head: str | None = None,
) -> list[Entry]:
    """An entry for each receipt."""
    return [Entry(event, at, run_id, r.partition, r.version, r, reason, head) for r in receipts]


@dataclass(frozen=True)
class Journal:
    """What the lake says of a dataset's vintages, oldest first. `unreadable` are files of it that are damaged."""

    entries: Sequence[Entry]
    unreadable: Sequence[str] = ()
