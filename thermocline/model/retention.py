"""How long objects stay in which storage class: ages in days of the data, not of the object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from thermocline.model.partition import Partition
from thermocline.model.storage_classes import Provider, first_class, storage_class


@dataclass(frozen=True, slots=True)
class ClassStep:
    """From this age on, an object belongs in that class."""

    age_days: int
    storage_class: str


@dataclass(frozen=True, slots=True)
class Retention:
    """What is to become of a day as it ages. `delete_after_days` None keeps it for ever.

    `steps` are in the order of their ages, each colder than the one before. `reads_per_month` is how often an object
    is expected to be read whole in a month, for what reading costs.
    """

    steps: tuple[ClassStep, ...] = ()
    delete_after_days: int | None = None
    reads_per_month: float = 0.1

    def due_class(self, age_days: int, first: str) -> str:
        """The class that a day of that age belongs in; `first` before the first step."""
        due = first
        for step in self.steps:
            if age_days >= step.age_days:
                due = step.storage_class
        return due

    def short_stays(self, provider: Provider) -> list[str]:
        """What is said of each class in which a day stays for less than it is billed for."""
        said = []
        following = [step.age_days for step in self.steps[1:]]
        for number, step in enumerate(self.steps):
            end = following[number] if number < len(following) else self.delete_after_days
            minimum = storage_class(provider, step.storage_class).minimum_days
            if end is not None and end - step.age_days < minimum:
                stay = end - step.age_days
                said.append(f"a day stays in {step.storage_class} for {stay} days, and is billed for {minimum}")
        return said

    def is_over(self, age_days: int) -> bool:
        """Whether a day of that age is to be deleted."""
        return self.delete_after_days is not None and age_days >= self.delete_after_days


PRESETS: Mapping[str, Retention] = {
    "gcs_a": Retention((ClassStep(30, "NEARLINE"), ClassStep(365, "COLDLINE")), 2_555),
    "gcs_b": Retention((ClassStep(30, "NEARLINE"), ClassStep(90, "COLDLINE"), ClassStep(365, "ARCHIVE"))),
    # A query waits for hours for what lies in the last two, so only years that backtests seldom reach go there.
    "s3": Retention((
        ClassStep(30, "STANDARD_IA"),
        ClassStep(90, "GLACIER_IR"),
        ClassStep(1_095, "GLACIER"),
        ClassStep(1_825, "DEEP_ARCHIVE"),
    )),
    "local": Retention((ClassStep(30, "WARM"), ClassStep(90, "COMPRESSED"))),
}  # fmt: skip
"""Policies by name. None of S3 and of a folder deletes anything."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The retention of every dataset: its own, else the default, which keeps all in the first class."""

    default: Retention = Retention()
    own: Mapping[str, Retention] = field(default_factory=dict)

    def remarks(self, provider: Provider) -> list[str]:
        """What anybody would want to know of it who looks at what it comes to, one sentence each."""
        return [
            f"{where}: {what}; the plan counts that as a penalty"
            for where, each in {
                "storage.retention": self.default,
                **{f"datasets.{name}.retention": own for name, own in self.own.items()},
            }.items()
            for what in each.short_stays(provider)
        ]

    def of(self, dataset: str) -> Retention:
        """The retention of one dataset."""
        return self.own.get(dataset, self.default)


@dataclass(frozen=True, slots=True)
class Landing:
    """Which class an object is written straight into, by the age of its rows."""

    policy: RetentionPolicy
    provider: Provider

    def class_for(self, partition: Partition, size_bytes: int, today: date) -> str:
        """The class for an object whose youngest day is the partition's.

        It is the one due, else the coldest before it that can be read back at once, since what is written is verified
        before anything relies on it, and that does not bill the object for more bytes than it has.
        """
        first = first_class(self.provider).name
        age_days = (today - partition.day).days
        landed = first
        for step in self.policy.of(partition.dataset).steps:
            named = storage_class(self.provider, step.storage_class)
            if age_days >= step.age_days and named.is_read_at_once and size_bytes >= named.minimum_bytes:
                landed = step.storage_class
        return landed
