"""What holds without any setting, and that the repository's file and the guide say all of it."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import yaml
from settings_acts import is_section, load

from thermocline.model.lifecycle import Lifecycle
from thermocline.settings import Document, load_settings
from thermocline.settings_layers import key_paths

REPOSITORY = Path(__file__).parents[3]


def test_without_any_setting_everything_lives_in_the_home(tmp_path):
    settings = load()
    assert settings.home == tmp_path / ".thermocline"
    assert settings.config is None
    assert settings.hot_url is None
    assert settings.catalog_url is None
    assert settings.lake_url.reveal() == f"file://{tmp_path}/.thermocline/lake"
    assert settings.lifecycle == Lifecycle()
    assert settings.storage.lifecycle.auto_rotation.schedule == "0 2 * * *"
    assert settings.partitions.start == date(1990, 1, 1)


def test_the_repositorys_file_says_exactly_the_defaults():
    written = load_settings(config=REPOSITORY / "thermocline.yaml", environ={})
    assert written.model_copy(update={"config": None}) == load()


def test_the_repositorys_file_names_every_key():
    text = (REPOSITORY / "thermocline.yaml").read_text()
    document = yaml.safe_load(text)

    def named(path):
        value = document
        for key in path:
            if key not in value:
                return False
            value = value[key]
        return True

    assert [path for path in key_paths(Document) if not named(path)] == []


def test_the_repositorys_file_explains_every_key_in_one_line():
    lines = (REPOSITORY / "thermocline.yaml").read_text().splitlines()
    leaves = {path[-1] for path in key_paths(Document) if not is_section(path)}
    explained = [line for before, line in pairwise(lines) if before.lstrip().startswith("#")]
    assert {line.split(":")[0].strip() for line in explained} >= leaves


def test_the_guide_names_every_key():
    guide = (REPOSITORY / "docs/guide/settings.md").read_text()
    missing = [path for path in key_paths(Document) if not is_section(path) and f"`{'.'.join(path)}`" not in guide]
    assert missing == []


def test_a_key_left_empty_keeps_its_default(write):
    write("storage:\n  lifecycle:\n    hot_days:\nhot_url:\n")
    assert load().lifecycle.hot_days == 30
