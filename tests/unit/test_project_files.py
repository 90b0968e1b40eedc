"""The files around the code say what is true: they parse, and the names in them exist."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Hashable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
COMPOSE, DAGSTER, WORKFLOW = "docker-compose.yml", "dagster.yaml", ".github/workflows/ci.yml"
YAML_FILES = (
    COMPOSE,
    DAGSTER,
    WORKFLOW,
    "docker/dagster.yaml",
    "docker/workspace.yaml",
    "thermocline.yaml",
    "workspace.yaml",
    ".pre-commit-config.yaml",
)
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.stat().st_size
)


class NoDuplicates(yaml.SafeLoader):
    """YAML in which a key that is written twice is a mistake."""

    def construct_mapping(self, node, deep=False):
        """Build a mapping, or refuse it."""
        # An overridden `<<` is what merging is for.
        written = [self.construct_object(key, deep=True) for key, _ in node.value if not key.tag.endswith(":merge")]
        twice = {key for key in written if isinstance(key, Hashable) and written.count(key) > 1}
        assert not twice, f"{twice} written twice, line {node.start_mark.line + 1}"
        return super().construct_mapping(node, deep=deep)


def document(path):
    return yaml.load((ROOT / path).read_text(encoding="utf-8"), Loader=NoDuplicates)  # noqa: S506  # a SafeLoader


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def targets():
    return set(re.findall(r"^([a-z-]+):.*## ", text("Makefile"), flags=re.MULTILINE))


def services():
    return document(COMPOSE)["services"]


@pytest.mark.parametrize("path", YAML_FILES)
def test_yaml_files_parse_and_write_no_key_twice(path):
    assert document(path) is None or isinstance(document(path), dict)


# -------------------------------------------------------------------------------------------------------------- dagster


def test_everything_that_names_the_code_location_names_the_same():
    project = tomllib.loads(text("pyproject.toml"))["tool"]
    (module,) = document("workspace.yaml")["load_from"]
    (server,) = document("docker/workspace.yaml")["load_from"]
    name = module["python_module"]["module_name"]
    assert name == project["dagster"]["module_name"] == project["dg"]["project"]["code_location_target_module"]
    assert name in services()["code"]["command"]
    assert (
        project["dagster"]["code_location_name"]
        == module["python_module"]["location_name"]
        == server["grpc_server"]["location_name"]
    )
    assert (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()


def test_dagster_neither_calls_home_nor_asks_for_an_address():
    for path in (DAGSTER, "docker/dagster.yaml"):
        assert document(path)["telemetry"] == document(path)["nux"] == {"enabled": False}


def test_dagster_runs_under_docker_as_it_does_without():
    docker = document("docker/dagster.yaml")
    assert docker.pop("storage").keys() == {"postgres"}
    assert docker == document(DAGSTER)


def test_dagster_accepts_its_settings(tmp_path):
    (tmp_path / DAGSTER).symlink_to(ROOT / DAGSTER)
    run = subprocess.run(
        [PROGRAMS / "dagster", "instance", "info"],
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "default_limit: 1" in run.stdout


# --------------------------------------------------------------------------------------------------------------- docker


def test_every_service_says_what_it_is_made_of_and_how_to_see_that_it_is_well():
    for name, service in services().items():
        assert "image" in service or "build" in service, name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert ":latest" not in service.get("image", ""), name


def test_services_wait_for_services_that_exist():
    for service in services().values():
        for needed, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert needed in services()


def test_ports_are_open_to_this_machine_only():
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_mounted_or_built_exists():
    volumes = document(COMPOSE)["volumes"]
    for service in services().values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith("./") else source in volumes, mount
        if build := service.get("build"):
            assert (ROOT / build["context"] / build["dockerfile"]).is_file()


def test_secrets_come_from_the_environment_and_the_example_lists_them():
    for service in services().values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
    variables = set(re.findall(r"\$\{(\w+)", text(COMPOSE)))
    assert variables == set(re.findall(r"^(?:# )?([A-Z0-9_]+)=", text(".env.example"), flags=re.MULTILINE))
    assert not re.findall(r"^(\w*(?:PASSWORD|SECRET)\w*)=.", text(".env.example"), flags=re.MULTILINE)


def test_the_image_copies_what_exists_and_is_not_ignored():
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", text("docker/Dockerfile"), flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    allowed = set(re.findall(r"^!(.+)$", text(".dockerignore"), flags=re.MULTILINE))
    assert copied
    assert set(copied) == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_everybody_installs_the_same_uv():
    found = re.findall(r"uv==([\d.]+)", text("docker/Dockerfile"))
    assert found == re.findall(r"UV_TO_INSTALL=([\d.]+)", text("tools/setup"))


# ----------------------------------------------------------------------------------------------------------------- make


def test_every_target_explains_itself():
    declared = re.search(r"^\.PHONY: (help .*)$", text("Makefile"), flags=re.MULTILINE)
    assert declared
    assert set(declared[1].split()) == targets()


def test_ci_calls_only_targets_that_exist():
    steps = [step.get("run", "") for step in document(WORKFLOW)["jobs"]["make"]["steps"]]
    by_workflow, by_script = (
        {name for line in lines for name in re.findall(r"^\s*make (?:--\S+ )*([a-z-]+)", line)}
        for lines in (steps, text(".ci/run").splitlines())
    )
    assert {"demo", "test", "test-faults", "lint"} <= by_workflow <= targets()
    assert {"test", "test-faults", "lint"} <= by_script <= targets()


def test_the_workflow_may_only_read_and_pins_its_actions():
    workflow = document(WORKFLOW)
    assert workflow["permissions"] == {"contents": "read"}
    actions = [step["uses"] for step in workflow["jobs"]["make"]["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)


@pytest.mark.parametrize("path", [".ci/run", "tools/setup", "docker/postgres-init.sh"])
def test_scripts_can_be_run(path):
    script = ROOT / path
    shell = script.read_text(encoding="utf-8").splitlines()[0].split("/")[-1].split()[-1]
    assert os.access(script, os.X_OK)
    assert not subprocess.run([shell, "-n", script], capture_output=True, check=True).stderr


def test_hooks_need_no_network_and_run_what_is_installed():
    config = document(".pre-commit-config.yaml")
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        if hook["language"] == "system":
            assert (PROGRAMS / hook["entry"].split()[0].removeprefix(".venv/bin/")).is_file()
    subprocess.run([PROGRAMS / "pre-commit", "validate-config", ROOT / ".pre-commit-config.yaml"], check=True)


# ----------------------------------------------------------------------------------------------------------------- docs


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", text(page))
    local = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in local if link and not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


def test_the_index_lists_every_decision():
    folder = ROOT / "docs/adr"
    pages = {path.name for path in folder.glob("[0-9]*.md")}
    assert pages == set(re.findall(r"\]\((\d{4}-[^)]+)\)", text("docs/adr/README.md")))
    numbers = sorted(int(name[:4]) for name in pages)
    assert numbers == list(range(1, len(numbers) + 1))
