"""What click is taught: options that stand before or after a command, examples in its help, sections, exit codes."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from thermocline.cli.invocation import Invocation

F = TypeVar("F", bound=Callable[..., Any])


def global_options(command: F) -> F:
    """Give a command the options that all commands take; what it is given goes to the `Invocation`."""
    for option in reversed(_GLOBAL_OPTIONS):
        command = option(command)
    return command


def _kept(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Note an option that was given, wherever it stood; one that was not leaves what stood before the command."""
    if value:
        setattr(context.ensure_object(Invocation), str(parameter.name), value)


def _global_option(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, expose_value=False, callback=_kept, **settings)


_GLOBAL_OPTIONS = (
    _global_option(
        "--home", metavar="DIR", help="Where everything lives that is not set otherwise.  [default: .thermocline]"
    ),
    _global_option("--config", metavar="FILE", help="The thermocline.yaml to read."),
    _global_option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, all else on stderr."),
    _global_option("--quiet", is_flag=True, help="No progress bars and no remarks."),
    _global_option("--debug", is_flag=True, help="Show the traceback of an error."),
)
_GLOBAL_NAMES = frozenset({"home", "config", "as_json", "quiet", "debug"})


class Command(click.Command):
    """A command whose help shows examples, with its own options before those that all commands take."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        """As click's, with examples that can be run as they stand."""
        super().__init__(*arguments, **settings)
        self.examples = tuple(examples)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the others."""
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if isinstance(parameter, click.Option) and record is not None:
                is_common = parameter.name in _GLOBAL_NAMES or "--help" in parameter.opts
                (common if is_common else own).append(record)
        for title, records in (("Options", own), ("Options of every command", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(context, formatter)
        _write_examples(formatter, self.examples)


class CommandGroup(click.Group):
    """Commands that share their first word, such as `quarantine list` and `quarantine show`."""

    @property
    def examples(self) -> tuple[str, ...]:
        """Those of its commands."""
        return tuple(
            example for each in self.commands.values() if isinstance(each, Command) for example in each.examples
        )

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands in the order in which they were named."""
        return list(self.commands)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands. The options that all commands take stand in the help of each."""
        self.format_commands(context, formatter)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(context, formatter)
        _write_examples(formatter, self.examples)


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                # As it is: wrapped, it could not be copied.
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class _UnwrittenError(Exception):
    """Output could not be written. click ends a program itself, with 1, where it sees a broken pipe."""

    def __init__(self, pipe: BrokenPipeError) -> None:
        super().__init__(str(pipe))
        self.pipe = pipe


@contextmanager
def _unwritten() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _UnwrittenError(error) from error


class CommandLine(click.Group):
    """The whole command: its commands in sections, its errors in one line, its exit code as promised."""

    command_class = Command

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[click.Command]], **settings: Any) -> None:
        """As click's, with the commands in sections."""
        super().__init__(*arguments, **settings)
        self.sections = sections
        for commands in sections.values():
            for command in commands:
                self.add_command(command)

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands in the order of the help."""
        return [str(command.name) for commands in self.sections.values() for command in commands]

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section."""
        widest = max(len(str(command.name)) for commands in self.sections.values() for command in commands)
        for title, commands in self.sections.items():
            with formatter.section(title):
                room = formatter.width - formatter.current_indent - widest - 4
                formatter.write_dl(
                    [(str(command.name).ljust(widest), command.get_short_help_str(room)) for command in commands]
                )

    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        """As click's; it writes where help is asked for."""
        with _unwritten():
            return super().make_context(*arguments, **settings)

    def invoke(self, context: click.Context) -> Any:
        """As click's."""
        with _unwritten():
            return super().invoke(context)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command and exit: 0 when it did what was asked, 1 when it could not, 2 for wrong usage."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        arguments = list(sys.argv[1:] if args is None else args)
        # Before click has read the arguments, because it may refuse them.
        invocation = Invocation(as_json="--json" in arguments, debug="--debug" in arguments)
        extra["obj"] = invocation
        try:
            with invocation.interruptible():
                code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
                sys.stdout.flush()
        except SystemExit:
            raise
        except _UnwrittenError as error:
            code = invocation.failed(error.pipe)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the user gets one line and the exit code
            code = invocation.failed(error)
        sys.exit(code if isinstance(code, int) else 0)


def command(*arguments: Any, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function that takes the `Invocation` first a command of ours; `examples` are shown in its help."""
    take_invocation = click.make_pass_decorator(Invocation, ensure=True)

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(*arguments, cls=Command, **settings)(global_options(take_invocation(function)))

    return decorate


def group(*commands: click.Command) -> Callable[[Callable[[], None]], CommandGroup]:
    """Make a function that does nothing a first word for commands; what it says of itself is their help."""

    def decorate(function: Callable[[], None]) -> CommandGroup:
        made = click.group(cls=CommandGroup)(global_options(function))
        for each in commands:
            made.add_command(each)
        return made

    return decorate
