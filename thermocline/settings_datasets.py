"""Datasets and columns that thermocline.yaml declares."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from thermocline.errors import UsageError
from thermocline.model.dataset import PROVENANCE, Column, Dataset, Kind
from thermocline.model.datasets import BUILT_IN, MARKET_DATA, nearest
from thermocline.model.partition import parse_interval
from thermocline.model.rules import Severity, Strictness, wrong_rules
from thermocline.settings_retention import RetentionSettings
from thermocline.settings_values import Section, Share, WindowDays

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST_NAME = 40  # with an interval and a day behind it, a name must fit the 63 bytes that PostgreSQL gives one
_TAKEN = frozenset({"late_id", "late", "here", "ctid", "oid", "tableoid", "xmin", "xmax", "cmin", "cmax"})
_BUILT_IN = {dataset.name: dataset for dataset in BUILT_IN}
_NOT_SHARED = ("description", "key", "symbol_column", "has_intervals")


class ColumnSettings(Section):
    """A column. `required` means that every row must have a value."""

    kind: Kind
    description: str = ""
    required: bool = False
    empty_allowed: bool = False

    def column(self, name: str, *, required: bool) -> Column:
        """The column as the model has it."""
        return Column(name, self.kind, not (required or self.required), self.description, self.empty_allowed)


def _columns(value: Any) -> Any:
    """Let a column that only has a kind be written as that kind."""
    if not isinstance(value, Mapping):
        msg = "should be a mapping from columns to kinds such as {spread: price}"
        raise ValueError(msg)  # noqa: TRY004  # pydantic collects ValueError only
    return {name: {"kind": kind} if isinstance(kind, str) else kind for name, kind in value.items()}


class DatasetSettings(Section):
    """What one dataset does differently, or all of one that does not come with Thermocline.

    `rules` maps a rule's name to how it is taken.
    """

    hot_days: WindowDays | None = None
    strictness: Strictness | None = None
    max_bad_share: Share | None = None
    rules: dict[str, Severity] = Field(default_factory=dict)
    description: str = ""
    columns: Annotated[dict[str, ColumnSettings], BeforeValidator(_columns)] = Field(default_factory=dict)
    key: tuple[str, ...] = ()
    symbol_column: str = ""
    has_intervals: bool = False
    retention: RetentionSettings | None = None

    @property
    def declares(self) -> bool:
        """Whether it says what the dataset is, and not only how it is kept."""
        return bool(self.columns or any(getattr(self, name) for name in _NOT_SHARED))


def _checked(datasets: dict[str, DatasetSettings]) -> dict[str, DatasetSettings]:
    """Refuse what no store could hold, each under its own name."""
    wrong: list[InitErrorDetails] = []
    for name, section in datasets.items():
        try:
            dataset = declared(name, section)
            if dataset:
                _apart(name, _BUILT_IN.keys() | datasets.keys())
            problems = wrong_rules(dataset or _BUILT_IN[name], section.rules)
        except UsageError as error:
            problems = [str(error)]
        for problem in problems:
            said = PydanticCustomError("value_error", "{said}", {"said": problem})
            wrong.append(InitErrorDetails(type=said, loc=(name,), input=name))
    if wrong:
        raise ValidationError.from_exception_data("datasets", wrong)  # noqa: EM101  # the title, not a message
    return datasets


Datasets = Annotated[dict[str, DatasetSettings], AfterValidator(_checked)]


def declared(name: str, section: DatasetSettings) -> Dataset | None:
    """The dataset that a section declares, or a built-in one with the columns that it adds; None where it does neither.

    Raises:
        UsageError: No store could hold it, or it would change what a built-in dataset is.
    """
    columns = tuple(
        each.column(_usable(column, "column"), required=column in section.key)
        for column, each in section.columns.items()
    )
    built_in = _BUILT_IN.get(name)
    if built_in:
        return _widened(built_in, section, columns) if section.declares else None
    if not section.columns:
        raise nearest(name)
    return _own(_usable(name, "dataset"), section, columns)


def _widened(built_in: Dataset, section: DatasetSettings, columns: tuple[Column, ...]) -> Dataset:
    """A built-in dataset with more columns, in front of those that say where a row came from."""
    if beyond := [name for name in _NOT_SHARED if getattr(section, name)]:
        msg = (
            f"{built_in.name} comes with Thermocline, which says its {', '.join(beyond)}; only columns can be added to "
            "it. Declare a dataset of another name"
        )
        raise UsageError(msg)
    for column in columns:
        if column.name in built_in.names:
            msg = f"{built_in.name} has a column {column.name} already; leave it out, or give yours another name"
            raise UsageError(msg)
        if not column.nullable:
            msg = (
                f"column {column.name} is required, but rows of {built_in.name} come from sources that don't know it; "
                "leave out `required`"
            )
            raise UsageError(msg)
    return built_in.with_columns(columns)


def _own(name: str, section: DatasetSettings, columns: tuple[Column, ...]) -> Dataset:
    """A dataset of one's own. What every dataset needs is added where it is not listed: ts, provenance, intervals."""
    symbol_column = section.symbol_column or MARKET_DATA.symbol_column
    intervals = ("interval",) if section.has_intervals else ()
    listed = section.key or (symbol_column,)
    key = (*listed, *(each for each in (*intervals, "ts") if each not in listed))
    named = {column.name: column for column in columns}
    if symbol_column not in named:
        near = f" ({nearest(name)})" if len(columns) == 1 else ""
        msg = f"the dataset {name} has no column {symbol_column}; add it, or say which one is its `symbol_column`{near}"
        raise UsageError(msg)
    if reserved := sorted(set(named) & set(PROVENANCE)):
        msg = f"{', '.join(reserved)} is filled in by Thermocline; leave it out of the columns of {name}"
        raise UsageError(msg)
    common = {column.name: column for column in MARKET_DATA.columns}
    leading = [common[each] for each in (*intervals, "ts") if each not in named]
    ordered = [
        *(Column(c.name, c.kind, c.nullable and c.name not in key, c.description, c.empty_allowed) for c in columns),
        *leading,
        *(common[each] for each in PROVENANCE),
    ]
    for required, kind in (("ts", Kind.TIMESTAMP), *((each, Kind.TEXT) for each in (symbol_column, *intervals))):
        found = next(column for column in ordered if column.name == required)
        if found.kind is not kind:
            msg = f"column {required} of {name} must be {kind}, not {found.kind}"
            raise UsageError(msg)
    return Dataset(
        name=name,
        description=section.description or name.replace("_", " "),
        columns=tuple(ordered),
        key=key,
        symbol_column=symbol_column,
        has_intervals=section.has_intervals,
    )


def _apart(name: str, names: Collection[str]) -> None:
    """Refuse a name that PostgreSQL would give to the tables of another dataset's interval: `market_data_1day`."""
    for other in names:
        with suppress(UsageError):
            interval = parse_interval(name.removeprefix(f"{other}_")) if name.startswith(f"{other}_") else None
            if interval:
                break
    else:
        return
    msg = f"{name!r} is what the bars of {interval} of {other} are called in PostgreSQL; take another name"
    raise UsageError(msg)


def _usable(name: str, what: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME or name.startswith(("pg_", "thermocline")):
        msg = (
            f"{name!r} can't be the name of a {what}; write lower-case letters, digits and underscores, a letter "
            f"first, at most {_LONGEST_NAME}, not beginning with pg_ or thermocline"
        )
        raise UsageError(msg)
    if what == "column" and name in _TAKEN:
        msg = f"{name!r} can't be the name of a column: PostgreSQL or Thermocline has one of that name; take another"
        raise UsageError(msg)
    return name
