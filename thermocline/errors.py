"""Every error Thermocline raises on purpose.

```
ThermoclineError                     something could not be done; the text says what to do next
├── UsageError                       the request itself is wrong (exit code 2)
│   ├── SettingsError                thermocline.yaml or a THERMOCLINE_* variable
│   ├── UnknownDatasetError          no dataset of that name
│   └── BadRangeError                a start that is not before its end, or a date that is none
├── SourceError                      rows could not be fetched or read
│   └── SourceRefusedError           a vendor refuses the question itself; asking again would not help
├── AdjustmentError                  prices can't be adjusted for splits and dividends as asked
├── OutOfOrderError                  rows that were to come sorted do not
├── SchemaError                      a batch lacks columns that its dataset must have
├── TooManyBadRowsError              so many rows of a batch may not go in that something else is wrong
├── HotStoreError                    PostgreSQL is down, refuses or is too old
│   ├── LockTimeoutError             another writer, or a long reader, stands in the way
│   └── StaleStateError              rows changed under an act that had read them
├── LakeError                        the lake can't be read or written
│   ├── ObjectExistsError            an object is never overwritten
│   ├── FingerprintMismatchError     what the store holds is not what was written
│   ├── TransientLakeError           the store is slow or overloaded; the same request may succeed later
│   ├── BrokenTableError             the Iceberg table's newest metadata is missing or damaged
│   ├── ArchivedError                an object lies in an archive and must be restored before it is read
│   ├── TimeLimitError               a query took longer than one may
│   ├── RequestBudgetError           a run has used up the requests that it may make
│   └── CatalogConflictError         somebody else moved the table's head
├── QueryCancelledError              somebody cancelled the answer that was being taken
├── CacheError                       kept answers can't be reached where they are to be cleared
└── PlanDriftError                   the state is no longer the one that the plan was made for
```
"""

from collections.abc import Sequence


class ThermoclineError(Exception):
    """Something could not be done. The text says what happened and what to do next."""

    exit_code = 1


class UsageError(ThermoclineError):
    """The request itself is wrong; nothing was started."""

    exit_code = 2


class SettingsError(UsageError):
    """thermocline.yaml or a THERMOCLINE_* variable is wrong."""


class UnknownDatasetError(UsageError):
    """No dataset has that name."""


class BadRangeError(UsageError):
    """A range of days is empty, reversed or not made of dates."""


class SourceError(ThermoclineError):
    """Rows could not be fetched or read. Nothing that was read before is lost."""


class SourceRefusedError(SourceError):
    """A vendor refuses the question itself; asking the same again would not help."""


class AdjustmentError(ThermoclineError):
    """Prices can't be adjusted as asked. Raw prices are as they were."""


class OutOfOrderError(ThermoclineError):
    """Rows that were to come in the order of files do not; whoever hoped so sorts them."""


class SchemaError(ThermoclineError):
    """A batch of rows can't be brought into its dataset's schema at all."""


class TooManyBadRowsError(ThermoclineError):
    """Too many rows of a batch may not go in; none of it did."""


class HotStoreError(ThermoclineError):
    """PostgreSQL is down, refuses, or is not what is needed."""


class LockTimeoutError(HotStoreError):
    """Another writer or a long reader stood in the way for longer than allowed."""


class StaleStateError(HotStoreError):
    """Rows changed after they were read and before they were to leave; they were kept."""


class LakeError(ThermoclineError):
    """The lake can't be read or written."""


class ArchivedError(LakeError):
    """Objects lie in an archive: they must be restored before they can be read. Nothing was changed.

    `paths` are all of them that were needed, where that is known.
    """

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        """Say what happened, and of which objects."""
        super().__init__(message)
        self.paths = tuple(paths)


class ObjectExistsError(LakeError):
    """An object is already at that path; objects are never overwritten."""


class FingerprintMismatchError(LakeError):
    """What the store holds is not what was written. Nothing was deleted."""


class CatalogConflictError(LakeError):
    """Another commit moved the Iceberg table's head since it was read."""


class BrokenTableError(LakeError):
    """The newest metadata of an Iceberg table is missing or damaged. The rows, and what reads them here, are not."""


class TransientLakeError(LakeError):
    """The store timed out, is overloaded or broke off; the same request may succeed later."""


class QueryCancelledError(ThermoclineError):
    """Somebody called `cancel` of the answer that was being taken. Nothing was changed."""


class TimeLimitError(LakeError):
    """A query read the lake for longer than one may. Nothing was changed."""


class RequestBudgetError(LakeError):
    """A run has used up the requests that it may make of the store; it ends, and the next one goes on."""


class CacheError(ThermoclineError):
    """Answers that are kept elsewhere can't be reached. No row depends on them."""


class PlanDriftError(ThermoclineError):
    """The state is no longer the one that the plan was made for; nothing was changed."""
