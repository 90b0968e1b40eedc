"""What thermocline.yaml says of retention, as the model takes it."""

import re
from datetime import date

import pytest

from thermocline.errors import SettingsError
from thermocline.model.partition import Partition
from thermocline.model.retention import PRESETS, ClassStep, Landing, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.settings import load_settings
from thermocline.settings_retention import RetentionSettings

BUCKET = {Provider.S3: "s3://bucket/lake", Provider.GCS: "gs://bucket/lake"}


@pytest.fixture
def policy(tmp_path, monkeypatch):
    """The policy that a thermocline.yaml comes to."""
    monkeypatch.chdir(tmp_path)

    def policy(text: str, provider: Provider = Provider.GCS) -> RetentionPolicy:
        (tmp_path / "thermocline.yaml").write_text(f"lake_url: {BUCKET[provider]}\n{text}")
        return load_settings(environ={}).retention

    return policy


def test_without_a_setting_everything_stays_in_the_first_class_for_ever(policy):
    assert policy("") == RetentionPolicy()
    assert RetentionPolicy().of("news").due_class(36_500, "STANDARD") == "STANDARD"
    assert not RetentionPolicy().of("news").is_over(36_500)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_is_a_policy_of_its_provider_without_a_class_that_is_left_too_early(preset):
    provider = {"local": Provider.LOCAL, "s3": Provider.S3}.get(preset, Provider.GCS)
    retention = RetentionSettings(preset=preset).retention(provider, "storage.retention", 30)
    assert retention == PRESETS[preset]
    assert retention.short_stays(provider) == []


def test_a_policy_that_only_deletes_has_no_class_to_be_left_early(policy):
    assert policy("storage: {retention: {delete_after_days: 5}}").remarks(Provider.GCS) == []


def test_a_dataset_has_its_own_policy_in_place_of_the_general_one(policy):
    found = policy(
        "storage: {retention: {preset: gcs_a, reads_per_month: 2}}\n"
        "datasets: {news: {retention: {steps: {60: COLDLINE, 30: NEARLINE}, delete_after_days: 400}}}"
    )
    assert found.of("market_data") == Retention(PRESETS["gcs_a"].steps, 2_555, 2)
    assert found.of("news") == Retention((ClassStep(30, "NEARLINE"), ClassStep(60, "COLDLINE")), 400)


def test_steps_of_one_s_own_stand_in_for_those_of_the_preset_and_leave_its_end(policy):
    found = policy("storage: {retention: {preset: gcs_a, steps: {90: ARCHIVE}}}")
    assert found.default == Retention((ClassStep(90, "ARCHIVE"),), 2_555)


@pytest.mark.parametrize(
    ("provider", "text", "says"),
    [
        (
            Provider.S3,
            "preset: gcs_a",
            "storage.retention: s3 has no storage class 'NEARLINE'; it has STANDARD, STANDARD_IA",
        ),
        (
            Provider.GCS,
            "steps: {30: COLDLINE, 90: NEARLINE}",
            "NEARLINE from 90 days on is not colder than COLDLINE from 30",
        ),
        (Provider.GCS, "steps: {30: NEARLINE, 90: NEARLINE}", "NEARLINE from 90 days on is not colder than NEARLINE"),
        (Provider.GCS, "steps: {-1: NEARLINE}", "storage.retention.steps"),
        (Provider.GCS, "steps: {soon: NEARLINE}", "storage.retention.steps"),
        (Provider.GCS, "preset: gcp", "storage.retention.preset"),
        (Provider.GCS, "reads_per_month: -1", "storage.retention.reads_per_month"),
        (
            Provider.GCS,
            "{preset: gcs_b, delete_after_days: 365}",
            "would be deleted at 365 days, before it comes to ARCHIVE",
        ),
        (Provider.S3, "steps: {30: GLACIER}", "GLACIER from 30 days on archives days that are in PostgreSQL until 30"),
    ],
)
def test_a_policy_that_can_t_be_meant_is_refused(policy, provider, text, says):
    with pytest.raises(SettingsError, match=re.escape(says)):
        policy(f"storage:\n  retention: {text if text[0] == '{' else '{' + text + '}'}", provider)


def test_an_archive_begins_after_the_longest_window_of_the_dataset_that_it_is_for(policy):
    windows = "storage: {lifecycle: {hot_intervals: {1day: 400}}, retention: {steps: {365: GLACIER}}}"
    with pytest.raises(SettingsError, match=r"storage.retention: GLACIER from 365 days on .* until 400"):
        policy(windows, Provider.S3)
    own = "datasets: {news: {hot_days: 90, retention: {steps: {60: GLACIER}}}}"
    with pytest.raises(SettingsError, match=r"datasets.news.retention: GLACIER from 60 days on .* until 90"):
        policy(own, Provider.S3)
    assert policy(own.replace("60", "91"), Provider.S3).of("news").steps == (ClassStep(91, "GLACIER"),)


def test_a_class_that_is_left_before_its_minimum_duration_is_remarked_upon(policy):
    found = policy("storage: {retention: {steps: {30: NEARLINE, 50: COLDLINE}, delete_after_days: 100}}")
    assert found.remarks(Provider.GCS) == [
        f"storage.retention: a day stays in {name}; the plan counts that as a penalty"
        for name in ("NEARLINE for 20 days, and is billed for 30", "COLDLINE for 50 days, and is billed for 90")
    ]


@pytest.mark.parametrize(
    ("age_days", "size_bytes", "lands"),
    [
        (10, 1 << 30, "STANDARD"),
        (40, 1 << 30, "STANDARD_IA"),
        (2_000, 1 << 30, "GLACIER_IR"),  # what is archived could not be read back to be verified
        (2_000, 1_000, "STANDARD"),  # it would be billed as 128 KiB
    ],
)
def test_an_object_is_written_straight_into_the_class_of_its_days(age_days, size_bytes, lands):
    today = date(2026, 11, 27)
    day = Partition("news", "", date.fromordinal(today.toordinal() - age_days))
    landing = Landing(RetentionPolicy(PRESETS["s3"]), Provider.S3)
    assert landing.class_for(day, size_bytes, today) == lands
