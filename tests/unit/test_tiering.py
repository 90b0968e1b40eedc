"""Plans of storage classes hold together, whatever lies in the lake; and are made fast."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiering_world import AS_OF, in_class

from thermocline.model.retention import PRESETS, RetentionPolicy
from thermocline.model.storage_classes import Provider, classes_of, is_colder
from thermocline.model.tiering import TieredObject, plan_tiers
from thermocline.settings_retention import load_prices

BOOKS = {provider: load_prices(provider) for provider in Provider}
PRESET_OF = {"gcs_a": Provider.GCS, "gcs_b": Provider.GCS, "s3": Provider.S3, "local": Provider.LOCAL}


@st.composite
def lakes(draw: st.DrawFn) -> tuple[str, list[TieredObject]]:
    """A preset, and objects of its provider of every age, size and class."""
    preset = draw(st.sampled_from(sorted(PRESET_OF)))
    names = [each.name for each in classes_of(PRESET_OF[preset])]
    objects = draw(
        st.lists(
            st.builds(
                in_class,
                st.sampled_from(names),
                st.integers(-2, 4_000),
                size_bytes=st.integers(1, 1 << 42),
                stored_days=st.one_of(st.none(), st.floats(0, 800)),
                is_due_for_compaction=st.booleans(),
                busy=st.sampled_from(["", "is hot"]),
            ),
            max_size=8,
        )
    )
    return preset, [replace(each, path=f"{number}.parquet") for number, each in enumerate(objects)]


def plan_of(preset: str, objects, reads_per_month: float = 0.1):
    """The plan of a preset for some objects."""
    provider = PRESET_OF[preset]
    retention = replace(PRESETS[preset], reads_per_month=reads_per_month)
    return plan_tiers(objects, RetentionPolicy(retention), provider, BOOKS[provider], AS_OF)


@given(lakes(), st.floats(0, 3))
def test_a_plan_accounts_for_every_object_and_every_dollar(lake, reads_per_month):
    preset, objects = lake
    plan = plan_of(preset, objects, reads_per_month)
    assert len(plan.transitions) + len(plan.left) + len(plan.removals) + plan.settled == len(objects)
    saved = sum(move.saving_usd_per_month for move in plan.transitions)
    freed = sum(removal.freed_usd_per_month for removal in plan.removals)
    assert plan.usd_per_month_before - plan.usd_per_month_after == pytest.approx(saved + freed, rel=1e-9, abs=1e-9)


@given(lakes(), st.floats(0, 3))
def test_a_plan_moves_to_colder_classes_only_and_only_where_that_is_earned(lake, reads_per_month):
    preset, objects = lake
    for move in plan_of(preset, objects, reads_per_month).transitions:
        assert is_colder(PRESET_OF[preset], move.to, move.object.storage_class)
        assert move.saving_usd_per_month > 0
        assert move.break_even_days is not None
        ends = [step.age_days for step in PRESETS[preset].steps] + [PRESETS[preset].delete_after_days or 10_000]
        age_days = (AS_OF - move.object.last_day).days
        assert move.break_even_days <= max(ends) - age_days


@given(lakes(), st.randoms())
def test_a_plan_has_the_same_digest_in_whatever_order_objects_are_listed(lake, chance: random.Random):
    preset, objects = lake
    shuffled = chance.sample(objects, len(objects))
    assert plan_of(preset, shuffled).digest == plan_of(preset, objects).digest


@given(lakes())
def test_what_a_plan_moved_is_not_moved_again(lake):
    preset, objects = lake
    plan = plan_of(preset, objects)
    gone = {removal.object.path for removal in plan.removals}
    to = {move.object.path: move.to for move in plan.transitions}
    after = [
        replace(each, storage_class=to[each.path], stored_at=in_class("", 0, stored_days=0).stored_at)
        if each.path in to
        else each
        for each in objects
        if each.path not in gone
    ]
    again = plan_of(preset, after)
    assert [*again.transitions, *again.removals] == []


def test_the_digest_names_which_objects_and_where_to():
    one = in_class("STANDARD", 400, etag="1")
    digest = plan_of("gcs_a", [one]).digest
    assert plan_of("gcs_a", [replace(one, etag="2")]).digest != digest
    assert plan_of("gcs_a", [replace(one, storage_class="NEARLINE")]).digest != digest
    assert plan_of("gcs_b", [one]).digest != digest  # ARCHIVE instead of COLDLINE
    assert plan_of("gcs_a", [replace(one, is_due_for_compaction=True)]).digest != digest
    assert plan_of("gcs_a", [replace(one, size_bytes=one.size_bytes + 1)]).digest == digest  # the etag says so already


@pytest.mark.parametrize("preset", sorted(PRESET_OF))
def test_five_years_of_days_of_three_datasets_move_where_it_pays(preset):
    first = classes_of(PRESET_OF[preset])[0].name
    lake = [
        in_class(first, age, path=f"{name}/{age}.parquet", stored_days=float(age + 1))
        for name in ("bars", "options", "news")
        for age in range(1_826)
    ]
    plan = plan_of(preset, lake)
    assert len(plan.transitions) > 4_000
