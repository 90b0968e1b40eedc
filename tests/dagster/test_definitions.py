"""What Dagster loads: whole, described, without touching a store or showing a secret."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_defs
from resources.hot import HotResource
from resources.lake import LakeResource
from resources.settings import SettingsResource
from thermocline.errors import SettingsError
from thermocline.model.datasets import DATASETS

pytestmark = pytest.mark.usefixtures("home")

ROOT = Path(__file__).parents[2]
SECRET = "postgresql://me:hunter2@db/market"  # noqa: S105  # what must not be shown


def test_definitions_load_and_are_fresh_each_time():
    first, second = build_defs(), build_defs()
    dg.Definitions.validate_loadable(first)
    assert first is not second


def test_loading_definitions_touches_no_store(home):
    build_defs().get_repository_def()
    assert not home.exists()


def assets_of(defs):
    return [asset for asset in defs.resolve_asset_graph().assets_defs if asset.keys]


def test_there_is_a_job_for_each_act():
    jobs = {job.name for job in build_defs().resolve_all_job_defs() if not job.name.startswith("__")}
    assert jobs == {
        "backfill",
        "hot_load",
        "nightly_rotation",
        "vacuum",
        "restore_drill",
        "cross_checks",
        "derive",
        "take_dropped_file",
        "compact",
        "lifecycle_tiering",
        "expire",
        "placement_checks",
    }


def test_every_dataset_is_in_the_lake_and_hot():
    keys = build_defs().resolve_asset_graph().get_all_asset_keys()
    assert {name for key in keys if not (name := key.to_user_string()).startswith("sources/")} == {
        "dropped_files",
        "derived/features",
        *(f"lake/{name}" for name in DATASETS),
        *(f"hot/{name}" for name in DATASETS),
        "rotation",
        "nightly_vacuum",
        "vacuum",
        "restore_drill",
        "compaction",
        "storage_classes",
        "expiry",
    }


def test_a_dataset_of_ones_own_has_assets_too(home):
    home.mkdir()
    (home / "thermocline.yaml").write_text("datasets: {mine: {columns: {symbol: text}}}")
    keys = {key.to_user_string() for key in build_defs().resolve_asset_graph().get_all_asset_keys()}
    assert {"lake/mine", "hot/mine"} <= keys


def test_everything_that_writes_to_hot_waits_in_one_pool():
    assert {asset.op.pool for asset in assets_of(build_defs())} == {"hot"}


def test_a_range_is_one_run_for_every_asset():
    """An asset without a policy would make its whole job one run for each partition."""
    assert {asset.backfill_policy for asset in assets_of(build_defs())} == {dg.BackfillPolicy.single_run()}


def test_everything_that_a_person_can_set_or_choose_is_described():
    defs = build_defs()
    for asset in assets_of(defs):
        assert all(spec.description for spec in [*asset.specs, *asset.check_specs])
        for name, field in (asset.op.config_schema.as_field().config_type.fields or {}).items():
            assert field.description, f"{asset.key}: {name}"
    assert all(job.description for job in defs.resolve_all_job_defs() if not job.name.startswith("__"))
    assert all(schedule.description for schedule in defs.schedules)


def test_nothing_warns_while_definitions_load():
    command = [sys.executable, "-W", "error", "-c", "import pipelines.definitions"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "resources",
    [
        {"hot": HotResource(settings=SettingsResource(), url=SECRET)},
        {"lake": LakeResource(settings=SettingsResource(), catalog_url=SECRET)},
    ],
)
def test_a_password_in_plain_text_is_refused_and_not_repeated(resources):
    with pytest.raises(SettingsError, match=r"dg\.EnvVar") as refused:
        build_defs(resources)
    assert "hunter2" not in str(refused.value)


# Dagster itself, with a resource inside a resource, uses what it calls deprecated.
nested = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")


@nested
def test_a_password_in_a_variable_reaches_the_store_and_nothing_else(monkeypatch):
    monkeypatch.setenv("MARKET_URL", SECRET)
    resource = HotResource(settings=SettingsResource(), url=dg.EnvVar("MARKET_URL"))
    shown = build_defs({"hot": resource}).get_repository_def().get_top_level_resources()["hot"]
    assert "hunter2" not in repr(shown.config_schema.default_value) + repr(resource)

    @dg.op
    def look(hot: dg.ResourceParam) -> str:
        return hot.url

    @dg.job(resource_defs={"hot": resource})
    def looking():
        look()

    assert looking.execute_in_process().output_for_node("look") == "postgresql://me:***@db/market"


@nested
def test_a_lake_of_its_own_is_used_instead_of_the_settings(tmp_path):
    resource = LakeResource(settings=SettingsResource(), url=f"file://{tmp_path}/elsewhere")

    @dg.op
    def look(lake: dg.ResourceParam) -> str:
        return lake.url

    @dg.job(resource_defs={"lake": resource})
    def looking():
        look()

    assert looking.execute_in_process().output_for_node("look") == f"file://{tmp_path}/elsewhere"


def test_a_wrong_setting_is_said_when_definitions_load(monkeypatch):
    monkeypatch.setenv("THERMOCLINE_PARTITIONS__START", "yesterday")
    with pytest.raises(SettingsError, match="yesterday"):
        build_defs()
