"""Rules of a bucket: what a policy comes to, what stays of others, and what is refused."""

from datetime import UTC, date, datetime

import pytest

from thermocline.cli.bucket_rules import in_a_line
from thermocline.errors import UsageError
from thermocline.model.bucket_rules import Place, harms_of, place_of, planned_rules, rules_for
from thermocline.model.retention import PRESETS, ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.stores.gcs import GcsObjects
from thermocline.stores.s3 import S3Objects

S3 = Place(Provider.S3, "lake/")
GCS = Place(Provider.GCS, "lake/")
YEARS = {"news": {2024, 2025}}
S3_POLICY = RetentionPolicy(PRESETS["s3"])
GCS_POLICY = RetentionPolicy(PRESETS["gcs_b"])
OTHERS = {"ID": "theirs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
OTHERS_OF_GOOGLE = {"action": {"type": "Delete"}, "condition": {"age": 3, "matchesPrefix": ["logs/"]}}


def instant(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_s3_gets_a_rule_for_each_year_with_the_dates_on_which_its_last_day_is_due():
    first, second, uploads = rules_for(S3, S3_POLICY, YEARS)
    assert first == {
        "ID": "thermocline-lake/news-2024",
        "Filter": {"And": {"Prefix": "lake/cold_storage/news/year=2024/", "ObjectSizeGreaterThan": 131_071}},
        "Status": "Enabled",
        "Transitions": [
            {"Date": instant("2025-01-30"), "StorageClass": "STANDARD_IA"},
            {"Date": instant("2025-03-31"), "StorageClass": "GLACIER_IR"},
            {"Date": instant("2027-12-31"), "StorageClass": "GLACIER"},
            {"Date": instant("2029-12-30"), "StorageClass": "DEEP_ARCHIVE"},
        ],
    }
    assert second["ID"] == "thermocline-lake/news-2025"
    assert uploads == {
        "ID": "thermocline-lake/uploads",
        "Filter": {"Prefix": "lake/"},
        "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }


def test_google_gets_a_rule_for_each_step_that_counts_from_the_youngest_day():
    own = {"news": Retention((ClassStep(30, "NEARLINE"),))}
    rules = rules_for(GCS, RetentionPolicy(PRESETS["gcs_b"], own), {"news": {2024}, "features": {2024}})
    both = ["lake/cold_storage/features/year=", "lake/cold_storage/news/year="]
    assert rules == [
        {
            "action": {"type": "SetStorageClass", "storageClass": "NEARLINE"},
            "condition": {"daysSinceCustomTime": 30, "matchesPrefix": both, "matchesStorageClass": ["STANDARD"]},
        },
        {
            "action": {"type": "SetStorageClass", "storageClass": "COLDLINE"},
            "condition": {
                "daysSinceCustomTime": 90,
                "matchesPrefix": both[:1],
                "matchesStorageClass": ["STANDARD", "NEARLINE"],
            },
        },
        {
            "action": {"type": "SetStorageClass", "storageClass": "ARCHIVE"},
            "condition": {
                "daysSinceCustomTime": 365,
                "matchesPrefix": both[:1],
                "matchesStorageClass": ["STANDARD", "NEARLINE", "COLDLINE"],
            },
        },
    ]


def test_nothing_that_a_policy_comes_to_deletes_or_does_harm():
    for place, policy in ((S3, S3_POLICY), (GCS, GCS_POLICY), (GCS, RetentionPolicy(PRESETS["gcs_a"]))):
        rules = rules_for(place, policy, YEARS)
        assert rules
        assert not any("Expiration" in rule or rule.get("action", {}).get("type") == "Delete" for rule in rules)
        assert [harm for rule in rules for harm in harms_of(place, policy, rule, YEARS)] == []


@pytest.mark.parametrize(
    ("place", "policy", "others"), [(S3, S3_POLICY, OTHERS), (GCS, GCS_POLICY, OTHERS_OF_GOOGLE)], ids=["s3", "gcs"]
)
def test_rules_of_others_stay_and_a_second_time_there_is_nothing_to_do(place, policy, others):
    plan = planned_rules(place, policy, YEARS, [others])
    assert plan.wanted[0] == others
    assert (list(plan.added), plan.removed, plan.others) == (list(plan.wanted[1:]), [], [others])
    again = planned_rules(place, policy, YEARS, plan.wanted)
    assert (again.added, again.removed, list(again.wanted)) == ([], [], list(plan.wanted))
    assert again.digest != plan.digest


@pytest.mark.parametrize(("make", "provider"), [(S3Objects, Provider.S3), (GcsObjects, Provider.GCS)])
@pytest.mark.parametrize(
    ("prefix", "begin"), [("", ""), ("a/b/", "a/b/"), ("lake#1?x", "lake#1?x/"), ("a%2Fb", "a%2Fb/")]
)
def test_rules_are_for_the_very_prefix_of_the_lake_whatever_characters_it_has(make, provider, prefix, begin):
    """`lake#1` is not `lake`, whose objects may be somebody else's."""
    assert place_of(provider, make("bucket", prefix).url) == Place(provider, begin)


@pytest.mark.parametrize(("place", "policy"), [(S3, S3_POLICY), (GCS, GCS_POLICY)], ids=["s3", "gcs"])
def test_rules_that_the_policy_has_no_more_are_taken_away(place, policy):
    old = rules_for(place, policy, YEARS)
    plan = planned_rules(place, RetentionPolicy(), YEARS, old)
    assert plan.removed == [rule for rule in old if "AbortIncompleteMultipartUpload" not in rule]


def test_a_lake_beside_in_the_bucket_is_somebody_else():
    theirs = rules_for(Place(Provider.GCS, "other/"), GCS_POLICY, YEARS)
    assert planned_rules(GCS, GCS_POLICY, YEARS, theirs).others == theirs


@pytest.mark.parametrize("prefixes", [("lake/", "lake2/"), ("", "lake/"), ("lake/", "lake/b/")])
def test_lakes_that_share_a_bucket_of_s3_leave_each_other_s_rules_and_name_theirs_otherwise(prefixes):
    mine, theirs = (rules_for(Place(Provider.S3, prefix), S3_POLICY, YEARS) for prefix in prefixes)
    for prefix, own, others in ((prefixes[0], mine, theirs), (prefixes[1], theirs, mine)):
        plan = planned_rules(Place(Provider.S3, prefix), S3_POLICY, YEARS, [*own, *others])
        assert (plan.added, plan.removed, list(plan.others)) == ([], [], others)
    names = [rule["ID"] for rule in (*mine, *theirs)]
    assert len(set(names)) == len(names), "S3 refuses two rules of one name"


def test_a_rule_of_a_long_prefix_has_a_name_that_s3_takes():
    names = [rule["ID"] for rule in rules_for(Place(Provider.S3, "x" * 900 + "/"), S3_POLICY, YEARS)]
    assert max(map(len, names)) <= 255
    assert len(set(names)) == len(names)


def test_a_plan_is_not_named_by_a_letter_of_its_digest():
    plan = planned_rules(S3, S3_POLICY, YEARS, [])
    assert plan.is_named(plan.digest)
    assert plan.is_named(plan.digest[:16])
    assert not any(plan.is_named(digest) for digest in ("", plan.digest[:1], plan.digest[:15], "0" * 64))


def s3_rule(prefix, **acts):
    return {"ID": "theirs", "Filter": {"Prefix": prefix}, "Status": "Enabled", **acts}


@pytest.mark.parametrize(
    ("rule", "is_loss"),
    [
        (s3_rule("", Expiration={"Days": 365}), True),
        (s3_rule("lake/cold_storage/news/", Expiration={"Date": instant("2030-01-01")}), True),
        (s3_rule("lake/metadata/", Expiration={"Days": 365}), True),
        ({"ID": "old", "Prefix": "lake/", "Status": "Enabled", "Expiration": {"Days": 9}}, True),
        (s3_rule("lake/", Transitions=[{"Days": 3_000, "StorageClass": "GLACIER"}]), False),
        (s3_rule("lake/raw/", Transitions=[{"Days": 30, "StorageClass": "DEEP_ARCHIVE"}]), False),
        (s3_rule("lake/cold_storage/news/metadata/", Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]), False),
        (s3_rule("lake/cold_storage/news/year=", Transitions=[{"Days": 90, "StorageClass": "GLACIER"}]), False),
        (
            s3_rule(
                "lake/cold_storage/news/year=2024/",
                Transitions=[{"Date": instant("2025-06-01"), "StorageClass": "GLACIER"}],
            ),
            False,
        ),
        (
            s3_rule(
                "lake/cold_storage/news/year=",
                Transitions=[{"Date": instant("2040-06-01"), "StorageClass": "GLACIER"}],
            ),
            False,
        ),
    ],
)
def test_a_rule_that_would_do_harm_is_found_whoever_wrote_it(rule, is_loss):
    plan = planned_rules(S3, S3_POLICY, YEARS, [rule])
    assert [harm.is_loss for harm in plan.harms] == [is_loss]
    assert list(harms_of(S3, S3_POLICY, {**rule, "Status": "Disabled"}, YEARS)) == []


@pytest.mark.parametrize(
    "rule",
    [
        s3_rule("logs/", Expiration={"Days": 1}),
        s3_rule("lake/cache/", Expiration={"Days": 1}),
        s3_rule("", NoncurrentVersionExpiration={"NoncurrentDays": 1}),
        s3_rule("", Expiration={"ExpiredObjectDeleteMarker": True}),
        s3_rule("", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
        s3_rule("lake/", Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]),
        s3_rule("lake/cold_storage/news/year=", Transitions=[{"Days": 1_095, "StorageClass": "GLACIER"}]),
    ],
)
def test_a_rule_that_does_no_harm_is_left_in_peace(rule):
    assert planned_rules(S3, S3_POLICY, YEARS, [rule]).harms == []


@pytest.mark.parametrize(
    ("condition", "is_harm"),
    [
        ({"age": 30}, True),
        ({"age": 30, "matchesPrefix": ["lake/cold_storage/"]}, True),
        ({"age": 30, "isLive": False}, False),
        ({"daysSinceNoncurrentTime": 0}, False),
        ({"noncurrentTimeBefore": "2024-01-01"}, False),
        ({"numNewerVersions": 3}, False),
        ({"numNewerVersions": 0}, True),
        ({"age": 30, "matchesPrefix": []}, True),
        ({"age": 30, "matchesPrefix": ["lake/cache/"]}, False),
        ({"age": 30, "matchesPrefix": ["elsewhere/"]}, False),
    ],
)
def test_a_rule_of_google_that_deletes_beats_every_other(condition, is_harm):
    rule = {"action": {"type": "Delete"}, "condition": condition}
    assert bool(planned_rules(GCS, GCS_POLICY, YEARS, [rule]).harms) is is_harm


def test_more_rules_than_a_bucket_takes_are_refused():
    many = {f"dataset_{number}": set(range(1990, 2026)) for number in range(30)}
    with pytest.raises(UsageError, match="1081 rules, and a bucket takes 1000"):
        rules_for(S3, S3_POLICY, many)
    own = {f"d{n}": Retention((ClassStep(n, "NEARLINE"),)) for n in range(101)}
    with pytest.raises(UsageError, match="101 rules, and a bucket takes 100"):
        rules_for(GCS, RetentionPolicy(own=own), {name: {2024} for name in own})


def test_a_rule_is_due_on_the_very_day_on_which_the_policy_moves_the_last_day():
    (rule, _) = rules_for(S3, RetentionPolicy(Retention((ClassStep(30, "STANDARD_IA"),))), {"news": {2024}})
    due = rule["Transitions"][0]["Date"].date()
    assert PRESETS["s3"].due_class((due - date(2024, 12, 31)).days, "STANDARD") == "STANDARD_IA"
    assert (due - date(2024, 12, 31)).days == 30


def test_a_rule_is_said_in_a_line_with_what_it_does_and_to_what():
    s3 = {
        "ID": "thermocline-news-2026",
        "Filter": {"Prefix": "lake/cold_storage/news/year=2026/"},
        "Status": "Enabled",
        "Transitions": [{"Date": datetime(2027, 1, 30, tzinfo=UTC), "StorageClass": "STANDARD_IA"}],
    }
    gcs = {
        "action": {"type": "SetStorageClass", "storageClass": "NEARLINE"},
        "condition": {"daysSinceCustomTime": 30, "matchesPrefix": [f"lake/{number}" for number in range(9)]},
    }
    assert in_a_line(s3) == (
        "thermocline-news-2026; Filter Prefix lake/cold_storage/news/year=2026/; "
        "Transitions Date 2027-01-30 StorageClass STANDARD_IA"
    )
    assert in_a_line(gcs) == (
        "SetStorageClass NEARLINE; daysSinceCustomTime 30; matchesPrefix lake/0, lake/1, lake/2, lake/3 and 5 more"
    )
    assert in_a_line({"ID": "off", "Status": "Disabled", "Filter": {}}) == "off; Filter {}; Status Disabled"
