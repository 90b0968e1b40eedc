"""The examples that readers are shown are run, in order, in an empty home."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from thermocline.cli import main
from thermocline.model.rules import EVERYWHERE, RULES

ROOT = Path(__file__).parents[2]
TESTED = re.compile(r"<!-- tested(?:: (?P<file>[\w.]+))? -->\n```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
PAGES = ["README.md", "docs/guide/datasets.md", "docs/guide/cli.md", "docs/guide/python.md", "docs/guide/dagster.md"]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run_as_they_stand(page):
    examples = list(TESTED.finditer((ROOT / page).read_text()))
    assert examples, f"{page} has no tested example"
    for example in examples:
        if example["file"]:
            Path(example["file"]).write_text(example["code"])
        elif example["language"] == "python":
            exec(compile(example["code"], page, "exec"), {})  # noqa: S102  # the page's own code
        else:
            for line in example["code"].splitlines():
                _run(line)


def _run(line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "thermocline", line
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


def test_every_guide_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    pages = [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "guide").glob("*.md")]
    assert [page for page in pages if f"({page})" not in readme] == []


def test_every_link_between_pages_leads_somewhere():
    broken = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        broken += [f"{page.relative_to(ROOT)}: {target}" for target in targets if not (page.parent / target).exists()]
    assert broken == []


def test_the_table_of_rules_is_that_of_the_code():
    page = (ROOT / "docs" / "guide" / "validation.md").read_text()
    listed = [("all", rule) for rule in EVERYWHERE] + [(name, rule) for name, rules in RULES.items() for rule in rules]
    lines = [f"| {name} | `{rule.name}` | {rule.says} | {rule.severity.value} |" for name, rule in listed]
    assert "\n".join(lines) + "\n\n" in page
