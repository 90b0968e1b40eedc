"""The command is documented, its help is worth reading, and it answers at once."""

import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from thermocline.cli import main
from thermocline.cli.commands import CommandGroup

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "cli.md").read_text()
WITHIN = {
    each: word for word in main.commands.values() if isinstance(word, CommandGroup) for each in word.commands.values()
}
"""Commands of two words, with the first of them, in whose section of the page they are."""

COMMANDS = [
    pytest.param(command, id=f"{WITHIN[command].name}-{command.name}" if command in WITHIN else command.name)
    for command in (*main.commands.values(), *WITHIN)
]
HEAVY = ("dagster", "pandas", "boto3", "google", "pyiceberg", "duckdb", "pyarrow", "rich", "psycopg", "pydantic")


def section_of(command):
    command = WITHIN.get(command, command)
    match = re.search(rf"^### {command.name}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert match, f"docs/guide/cli.md says nothing of {command.name}"
    return match[1]


def options_of(command):
    return [
        parameter for parameter in command.get_params(click.Context(command)) if isinstance(parameter, click.Option)
    ]


COMMON = {option.opts[0] for option in options_of(main)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_documented(command):
    section = section_of(command)
    kin = (command, *getattr(command, "commands", {}).values(), *getattr(WITHIN.get(command), "commands", {}).values())
    own = [option.opts[0] for each in kin for option in options_of(each) if option.opts[0] not in COMMON]
    assert [name for name in own if f"`{name}" not in section] == []
    documented = set(re.findall(r"`(--[a-z-]+)", section))
    assert documented - {*own, *COMMON} - {"--force"} == set(), "an option is documented that does not exist"


def test_the_options_of_every_command_are_documented():
    common = PAGE.split("## For every command")[1].split("\n## ")[0]
    assert [name for name in COMMON if name not in common] == []


def test_every_documented_command_exists():
    assert set(re.findall(r"^### ([a-z]+)$", PAGE, re.MULTILINE)) == set(main.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_with_examples(command):
    assert len(command.help.splitlines()) > 1
    assert len(command.get_short_help_str(200)) <= 64, "the list of commands would cut it"
    assert command.examples
    for example in command.examples:
        program, *arguments = shlex.split(example)
        assert program == "thermocline"
        # Reads the arguments as they stand, and does nothing.
        main.make_context("thermocline", [*arguments], resilient_parsing=False).close()
        words = [WITHIN[command].name, command.name] if command in WITHIN else [command.name]
        rest = arguments[next(i for i, argument in enumerate(arguments) if argument in main.commands) + len(words) :]
        command.make_context(command.name, rest).close()
        assert example in CliRunner().invoke(main, [*words, "--help"]).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command):
    assert [option.name for option in options_of(command) if not option.help] == []


def test_the_help_lists_every_command_in_a_section():
    shown = CliRunner().invoke(main, ["--help"]).stdout
    for title in ("Start here:", "Moving rows:", "Asking:", "Keeping house:"):
        assert title in shown
    assert [name for name in main.commands if f"\n  {name} " not in shown] == []
    assert "..." not in shown.split("Start here:")[1]


def test_the_help_answers_at_once_and_imports_next_to_nothing():
    code = (
        "import sys\n"
        "from thermocline.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr.strip() == "[]"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_importing_the_library_loads_nothing_heavy():
    code = f"import sys, thermocline; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_command_does_not_pay_for_what_it_does_not_use():
    unused = ("dagster", "pandas", "boto3", "google")
    code = f"import sys, thermocline; thermocline.open; print([name for name in {unused!r} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_version_is_that_of_the_package():
    assert re.fullmatch(r"thermocline \d+\.\d+\.\d+\n", CliRunner().invoke(main, ["--version"]).stdout)


def test_datasets_complete_in_the_shell(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "thermocline query ma")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = CliRunner().invoke(main, [], prog_name="thermocline", env={"_THERMOCLINE_COMPLETE": "bash_complete"})
    assert done.stdout.split() == ["plain,market_data"]
