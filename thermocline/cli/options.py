"""Arguments and options that several commands share, and the values they take."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from thermocline.errors import UsageError
from thermocline.model.datasets import DATASETS
from thermocline.model.partition import parse_day, parse_interval

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST_WINDOW_DAYS = 36_500  # as in settings.py, which is slow to import


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # not generic at run time before click 8.3


class DatasetName(ParamType):
    """A dataset's name; whether there is one of that name is for the API to say."""

    name = "dataset"

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The datasets that begin so."""
        del context, parameter
        return [
            CompletionItem(name, help=dataset.description)
            for name, dataset in DATASETS.items()
            if name.startswith(incomplete)
        ]


class Parsed(ParamType):
    """A value that a function makes of the text, or refuses with a UsageError."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        """Name the value as the help shows it."""
        self.name = name
        self._parse = parse

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The value; a refusal names the option."""
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), parameter, context)


def _instant(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is neither a date nor a time; write 2024-01-15 or 2024-01-15T14:30:00+00:00"
        raise UsageError(msg) from None
    return text


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        msg = f"{text!r} has no name and value with = between them"
        raise UsageError(msg)
    return name, value


def _yaml_pair(text: str) -> tuple[str, Any]:
    import yaml  # noqa: PLC0415  # for those who use it

    name, value = _pair(text)
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        msg = f"the value of {name} is not YAML: {value!r}"
        raise UsageError(msg) from None


DAY = Parsed("YYYY-MM-DD", parse_day)
INSTANT = Parsed("TIME", _instant)
INTERVAL = Parsed("INTERVAL", parse_interval)
PAIR = Parsed("NAME=TEXT", _pair)
YAML_PAIR = Parsed("KEY=VALUE", _yaml_pair)

dataset_argument = click.argument("dataset", type=DatasetName())
datasets_argument = click.argument("datasets", nargs=-1, type=DatasetName(), metavar="[DATASET]...")
symbols_option = click.option(
    "--symbol", "symbols", multiple=True, metavar="SYMBOL", help="Only this symbol; can be given several times."
)
intervals_option = click.option(
    "--interval",
    "intervals",
    multiple=True,
    type=INTERVAL,
    help="Only this bar size, such as 1min or 1day; can be given several times.",
)
as_of_option = click.option("--as-of", type=DAY, help="Act as if this were today.")
hot_days_option = click.option(
    "--hot-days",
    type=click.IntRange(1, _LONGEST_WINDOW_DAYS),
    metavar="N",
    help="How many days before today stay hot, instead of what the settings say.",
)
as_of_vintage_option = click.option(
    "--as-of-vintage",
    type=INSTANT,
    help="Each day as the lake had it at this instant (UTC), whatever was published since.",
)
accept_restatements_option = click.option(
    "--accept-restatements",
    is_flag=True,
    help="Publish days of which much that is published changes too; else they are held for `thermocline accept`.",
)
strictness_option = click.option(
    "--strictness",
    type=click.Choice(["strict", "warn", "off"]),
    help="What becomes of rows that break a rule, instead of what the settings say: quarantine, a warning, nothing.",
)
max_bad_share_option = click.option(
    "--max-bad-share",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Write nothing where more than this share of the rows may not go in, instead of what the settings say.",
)
output_option = click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write to a file instead: .parquet, .csv or .feather. Prices stay exact.",
)


def days_options(command: F) -> F:
    """Give a command `--start` and `--end` in days."""
    command = click.option("--end", type=DAY, help="The first day that no longer belongs.")(command)
    return click.option("--start", type=DAY, help="The first day.")(command)


def instants_options(command: F) -> F:
    """Give a command `--start` and `--end` in days or instants."""
    command = click.option("--end", type=INSTANT, help="Rows before this day or instant.")(command)
    return click.option("--start", type=INSTANT, help="Rows from this day or instant (UTC) on.")(command)
