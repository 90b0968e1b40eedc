"""Storage classes and the rules of buckets: the very requests."""

import io

import pytest
from gcs_acts import PATH, resource

from thermocline.errors import LakeError, PlanDriftError, UsageError
from thermocline.stores.retrying import RetryingObjects


def test_moving_what_was_surveyed_is_one_request_and_keeps_what_the_object_was_labelled_with(
    objects, asked, server, bucket
):
    objects.put(PATH, io.BytesIO(b"rows"), labels={"dataset": "news", "day": "2024-01-15"})
    before = resource(server, bucket)
    (stored,) = objects.survey("")
    with asked() as requests:
        moved = objects.classes.transition(stored, "COLDLINE")
    (request,) = requests
    assert "/rewriteTo/" in request.path
    assert request.parameters["ifSourceGenerationMatch"] == request.parameters["ifGenerationMatch"] == stored.etag
    after = resource(server, bucket)
    assert moved == objects.stat(PATH)
    assert (after["storageClass"], after["generation"]) == ("COLDLINE", moved.etag)
    kept = ("metadata", "contentType", "customTime", "crc32c", "size")
    assert [after[name] for name in kept] == [before[name] for name in kept]


def test_a_large_object_is_moved_in_several_calls(objects, asked):
    stored = objects.put(PATH, io.BytesIO(b"x" * (5 << 19)))
    with asked() as requests:
        moved = objects.classes.transition(stored, "ARCHIVE")
    rewrites = [request for request in requests if request.method == "POST"]
    assert ["rewriteToken" in request.parameters for request in rewrites] == [False, True, True]
    assert moved.storage_class == "ARCHIVE"
    assert objects.open(PATH).read() == b"x" * (5 << 19)


def test_an_object_that_changed_since_the_survey_is_left_alone(objects):
    stored = objects.put(PATH, io.BytesIO(b"rows"))
    now = objects.classes.transition(stored, "NEARLINE")
    with pytest.raises(PlanDriftError, match="changed since it was surveyed"):
        objects.classes.transition(stored, "COLDLINE")
    assert objects.stat(PATH) == now


def test_a_move_whose_answer_was_lost_counts(objects, server, bucket):
    stored = objects.put(PATH, io.BytesIO(b"rows"))
    server.refuse(bucket, 503, late=True, times=2)  # that of the description, and that of the move
    moved = RetryingObjects(objects, sleep=lambda _: None).classes.transition(stored, "NEARLINE")
    assert moved == objects.stat(PATH)
    assert moved.storage_class == "NEARLINE"


def test_a_bucket_that_chooses_classes_by_itself_is_named_for_it(objects, server, bucket):
    real = server.client().bucket(bucket)
    real.reload()
    real.autoclass_enabled = True
    real.patch()
    stored = objects.put(PATH, io.BytesIO(b"rows"), storage_class="NEARLINE")
    assert stored.storage_class == "STANDARD"
    with pytest.raises(LakeError, match="Autoclass"):
        objects.classes.transition(stored, "COLDLINE")
    assert objects.open(PATH).read() == b"rows"


def test_archives_are_read_at_once_and_need_no_restoring(objects):
    objects.put(PATH, io.BytesIO(b"rows"), storage_class="ARCHIVE")
    assert objects.open(PATH).read() == b"rows"
    with pytest.raises(UsageError, match=r"can be read at once .* billed by the GiB"):
        objects.classes.restore(PATH, days=1, speed="Bulk")


def test_rules_are_written_where_nobody_else_wrote_meanwhile_and_others_stay(objects, asked, server, bucket):
    theirs = {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}
    ours = {"action": {"type": "SetStorageClass", "storageClass": "NEARLINE"}, "condition": {"age": 30}}
    real = server.client().bucket(bucket)
    real.reload()
    real.lifecycle_rules = [theirs]
    real.patch()
    with asked() as requests:
        objects.classes.replace_rules([theirs, ours], expected=[theirs])
    assert [request.method for request in requests] == ["GET", "PATCH"]
    assert requests[1].parameters["ifMetagenerationMatch"]
    assert list(objects.classes.rules()) == [theirs, ours]
    with pytest.raises(PlanDriftError, match="changed since they were read"):
        objects.classes.replace_rules([], expected=[theirs])
    assert list(objects.classes.rules()) == [theirs, ours]
    server.refuse(bucket, 412)
    with pytest.raises((PlanDriftError, LakeError)):
        objects.classes.replace_rules([], expected=[theirs, ours])
