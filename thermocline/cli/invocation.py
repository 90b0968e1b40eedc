"""One call of the command: what holds for every command, its answer, its errors and its exit code."""

import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from thermocline.cli.words import Table
from thermocline.errors import ThermoclineError
from thermocline.model.url import without_secrets

if TYPE_CHECKING:
    from thermocline.api import Thermocline
    from thermocline.ports import Progress

FAILED, WRONG_USAGE, INTERRUPTED, UNREAD = 1, 2, 130, 141
"""Exit codes. The last two are what a shell says of a program that Ctrl-C, or a pipe that nobody reads, has ended."""

_STOPPED = (
    "stopped. Nothing is half done: what was committed stays, the rest is as it was. "
    "Run the same command again to go on"
)


@dataclass
class Invocation:
    """One call of the command.

    `answered` says that the one JSON document is on stdout already; `interrupted`, that the user pressed Ctrl-C.
    """

    home: str | None = None
    config: str | None = None
    as_json: bool = False
    debug: bool = False
    quiet: bool = False
    answered: bool = False
    interrupted: bool = False

    @contextmanager
    def opened(self, *, cache: bool = True) -> "Iterator[Thermocline]":
        """Thermocline, opened in the home that was asked for."""
        from thermocline.api import open as open_home  # noqa: PLC0415  # most of a second that `--help` need not pay

        with open_home(home=self.home, config=self.config, cache=cache) as opened:
            yield opened

    @contextmanager
    def progress(self) -> "Iterator[Progress]":
        """Bars on stderr where a person may look at them, else silence."""
        if self.as_json or self.quiet or not sys.stderr.isatty():
            from thermocline.ports import SILENT  # noqa: PLC0415  # as above

            yield SILENT
            return
        from thermocline.cli.bars import Bars  # noqa: PLC0415  # rich, for terminals

        with Bars() as bars:
            yield bars

    def answer(self, document: Mapping[str, Any], *shown: str | Table) -> None:
        """The result: the document with `--json`, else lines and tables for a person."""
        if self.as_json:
            click.echo(json.dumps(document, allow_nan=False))
            self.answered = True
            return
        for part in shown:
            if isinstance(part, Table):
                from thermocline.cli.screen import show  # noqa: PLC0415  # rich, for those who look at a table

                show(part)
            else:
                click.echo(part)

    def note(self, text: str) -> None:
        """A remark on stderr."""
        if not self.quiet:
            click.echo(text, err=True)

    def problem(self, error: BaseException) -> "Problem":
        """What to say of an error. DuckDB and others turn an interruption into errors of their own."""
        return Problem.of(KeyboardInterrupt() if self.interrupted else error)

    def problem_on_stdout(self, error: BaseException) -> "Problem":
        """What to say of an error in the document that is on stdout already, which is then the whole answer."""
        self.answered = True
        return self.problem(error)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Note in `interrupted` when the user presses Ctrl-C; it goes on as KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: object) -> None:
            self.interrupted = True
            raise KeyboardInterrupt

        earlier = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, earlier)

    def failed(self, error: BaseException) -> int:
        """Say what went wrong on stderr, and on stdout as JSON where that was asked for; return the exit code.

        Nothing is said where whoever read our output has seen enough.
        """
        unread = isinstance(error, BrokenPipeError) and (_is_unread(sys.stdout) or _is_unread(sys.stderr))
        try:
            return UNREAD if unread else self._told(error)
        except BrokenPipeError:
            return UNREAD
        finally:
            # What is left in the buffer must not fail again at exit.
            for stream in (sys.stdout, sys.stderr):
                if _is_unread(stream):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    def _told(self, error: BaseException) -> int:
        if self.debug:
            click.echo(without_secrets("".join(traceback.format_exception(error))), err=True, nl=False)
        problem = self.problem(error)
        if isinstance(error, click.ClickException):
            error.show()
        else:
            click.echo(f"{click.style('Error:', fg='red')} {problem.message}", err=True)
        if self.as_json and not self.answered:
            click.echo(json.dumps({"error": problem.document()}))
            self.answered = True
        return problem.exit_code


def _is_unread(stream: TextIO) -> bool:
    """Whether a stream is a pipe of which nobody holds the other end any more."""
    try:
        pipe = stream.fileno()
    except (OSError, ValueError):  # a test's, or closed
        return False
    poll = select.poll()
    poll.register(pipe, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@dataclass(frozen=True)
class Problem:
    """An error as the command tells it."""

    kind: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: BaseException) -> "Problem":
        """What to say of an error; of an unexpected one, where to look further."""
        match error:
            case ThermoclineError():
                return cls(type(error).__name__, without_secrets(str(error)), error.exit_code)
            case click.Abort() | KeyboardInterrupt():
                return cls("Interrupted", _STOPPED, INTERRUPTED)
            case click.UsageError():
                return cls("UsageError", error.format_message(), WRONG_USAGE)
            case click.ClickException():
                return cls(type(error).__name__, error.format_message(), error.exit_code)
        lines = str(error).strip().splitlines()
        what = without_secrets(": ".join([type(error).__name__, *lines[:1]]))
        message = f"unexpected: {what}. What was committed stays; run again with --debug to see where it happened"
        return cls(type(error).__name__, message, FAILED)

    def document(self) -> dict[str, Any]:
        """The error as JSON."""
        return {"type": self.kind, "message": self.message}


def exit_with(code: int) -> NoReturn:
    """Leave with that code after the answer was given."""
    click.get_current_context().exit(code)
