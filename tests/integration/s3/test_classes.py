"""Storage classes and the rules of buckets: the very requests."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from s3_acts import LARGE, PATH, Asked, content_of, events_of, losing_the_answer

from thermocline.errors import PlanDriftError
from thermocline.stores.retrying import RetryingObjects
from thermocline.stores.s3 import objects as s3


def test_moving_what_was_surveyed_keeps_what_the_object_was_labelled_with(objects, s3_server):
    objects.put(PATH, io.BytesIO(b"0123456789"), labels={"dataset": "news", "day": "2024-01-15"})
    named = {"Bucket": "tests", "Key": objects.location(PATH).removeprefix("s3://tests/")}
    tags = {"TagSet": [{"Key": "cost centre", "Value": "research: bars + news"}]}
    s3_server.client().put_object_tagging(**named, Tagging=tags)
    [stored] = objects.survey("")
    moved = objects.transition(stored, "STANDARD_IA")
    assert [(each.storage_class, each.etag) for each in objects.survey("")] == [("STANDARD_IA", moved.etag)]
    assert s3_server.client().head_object(**named)["Metadata"] == {"dataset": "news", "day": "2024-01-15"}
    assert s3_server.client().get_object_tagging(**named)["TagSet"] == tags["TagSet"]
    assert content_of(objects) == b"0123456789"


def test_an_object_that_changed_since_the_survey_is_left_alone(objects):
    objects.put(PATH, io.BytesIO(b"0123456789"))
    [stored] = objects.survey("")
    objects.delete(PATH)
    objects.put(PATH, io.BytesIO(b"others"))
    with pytest.raises(PlanDriftError, match="changed since it was surveyed"):
        objects.transition(stored, "STANDARD_IA")
    assert next(objects.survey("")).storage_class == "STANDARD"


def test_a_move_whose_answer_was_lost_counts(objects):
    objects.put(PATH, io.BytesIO(b"0123456789"))
    [stored] = objects.survey("")
    losing_the_answer(objects, "CopyObject")
    moved = RetryingObjects(objects, sleep=lambda _: None).classes.transition(stored, "STANDARD_IA")
    assert moved.storage_class == "STANDARD_IA"


def test_an_object_too_large_for_one_copy_is_moved_in_parts_and_keeps_its_labels(objects, monkeypatch, s3_server):
    monkeypatch.setattr(s3, "_LARGEST_COPY_BYTES", 6 << 20)
    monkeypatch.setattr(s3, "_COPIED_PART_BYTES", 5 << 20)
    objects.put(PATH, io.BytesIO(bytes(LARGE)), labels={"dataset": "news"})
    named = {"Bucket": "tests", "Key": objects.location(PATH).removeprefix("s3://tests/")}
    tags = {"TagSet": [{"Key": "cost centre", "Value": "research: bars + news"}]}
    s3_server.client().put_object_tagging(**named, Tagging=tags)
    [stored] = objects.survey("")
    asked = Asked(objects)
    objects.transition(stored, "STANDARD_IA")
    assert asked.operations.count("UploadPartCopy") == 4
    [moved] = objects.survey("")
    assert (moved.storage_class, moved.size_bytes) == ("STANDARD_IA", LARGE)
    assert s3_server.client().head_object(**named)["Metadata"] == {"dataset": "news"}
    assert s3_server.client().get_object_tagging(**named)["TagSet"] == tags["TagSet"]
    assert content_of(objects) == bytes(LARGE)


def test_a_survey_asks_once_for_a_thousand_objects(objects):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: objects.put(f"a/{number:04}", io.BytesIO(b"")), range(30)))
    asked = Asked(objects)
    assert len(list(objects.survey("a/"))) == 30
    assert asked.operations == ["ListObjectsV2"]
    assert asked.headers_of("ListObjectsV2")["x-amz-optional-object-attributes"] == "RestoreStatus"


def test_rules_are_written_where_nobody_else_wrote_meanwhile(imitated):
    theirs = {"ID": "theirs", "Filter": {"Prefix": "other/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    ours = {
        "ID": "ours",
        "Filter": {"Prefix": "lake/"},
        "Status": "Enabled",
        "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
    }
    assert imitated.rules() == []
    imitated.replace_rules([theirs], expected=[])
    with pytest.raises(PlanDriftError, match="nothing was changed"):
        imitated.replace_rules([ours], expected=[])
    imitated.replace_rules([*imitated.rules(), ours], expected=imitated.rules())
    assert imitated.rules() == [theirs, ours]
    imitated.replace_rules([], expected=imitated.rules())
    assert imitated.rules() == []


def test_the_smallest_size_that_rules_move_stays_as_the_bucket_has_it(imitated):
    told = []

    def note(params, **_):
        told.append(dict(params))

    def say(parsed, **_):
        parsed["TransitionDefaultMinimumObjectSize"] = "varies_by_storage_class"

    rule = {"ID": "ours", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 3}}
    imitated.replace_rules([rule], expected=[])
    events_of(imitated).register("after-call.s3.GetBucketLifecycleConfiguration", say)
    events_of(imitated).register("provide-client-params.s3.PutBucketLifecycleConfiguration", note)
    imitated.replace_rules([rule, {**rule, "ID": "other"}], expected=[rule])
    assert told[0]["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
