"""Storage classes of a store of objects, archives that must be restored, and the rules of its bucket."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider

Rule = Mapping[str, Any]
"""A lifecycle rule of a bucket as its provider's API spells it."""


class Classes(Protocol):
    """What a store that has storage classes can do with them."""

    @property
    def provider(self) -> Provider:
        """Whose classes they are."""
        ...

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose path starts with the prefix, in order, with its class, from listings alone."""
        ...

    def transition(self, stored: StoredObject, storage_class: str) -> StoredObject:
        """Move an object to another class, in place and whole; readers get the same bytes before, meanwhile and after.

        What it is labelled with stays. `stored` is the object as it was surveyed.

        Raises:
            PlanDriftError: It is not that object any more, by its etag; nothing was changed.
            ArchivedError: It must be restored first.
            FileNotFoundError: There is no such object.
        """
        ...

    def restore(self, path: str, *, days: int, speed: str) -> None:
        """Ask for a copy of an archived object that can be read for some days; no error where one is on its way.

        `speed` is the provider's word: `Bulk`, `Standard` or `Expedited`. What became of it, `survey` and `stat` say.
        """
        ...

    def rules(self) -> Sequence[Rule]:
        """The lifecycle rules of the bucket, those of others too."""
        ...

    def replace_rules(self, rules: Sequence[Rule], *, expected: Sequence[Rule]) -> None:
        """Make these the rules of the bucket, all of them.

        Raises:
            PlanDriftError: The bucket has not the expected rules; nothing was changed.
        """
        ...
