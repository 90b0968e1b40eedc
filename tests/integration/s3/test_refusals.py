"""Keys, payers, credentials, and what is said where S3 refuses."""

import io

import pytest
from s3_acts import KMS_KEY, LARGE, PATH, SMALL, Asked, answering, content_of
from s3_server import REGION, SECRET

from thermocline.errors import LakeError, TransientLakeError, UsageError
from thermocline.stores.s3 import S3Objects, S3Options
from thermocline.stores.s3 import objects as s3


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_objects_are_encrypted_with_the_key_of_the_settings_also_where_they_are_moved(opened, size):
    objects = opened(kms_key_id=KMS_KEY)
    asked = Asked(objects)
    for operation in ("PutObject", "CreateMultipartUpload", "CopyObject"):
        answering(objects, operation, 403, "KMS.NotFoundException")
    with pytest.raises(LakeError, match=r"correct storage\.s3\.kms_key_id"):
        objects.put(PATH, io.BytesIO(bytes(size)))
    with pytest.raises(LakeError, match=r"correct storage\.s3\.kms_key_id"):
        objects.transition(s3.StoredObject(PATH, size, "etag"), "STANDARD_IA")
    encrypted = [
        (headers["x-amz-server-side-encryption"], headers["x-amz-server-side-encryption-aws-kms-key-id"])
        for operation, headers in asked
        if operation != "DeleteObject"
    ]
    assert set(encrypted) == {("aws:kms", KMS_KEY)}


def test_whoever_asks_pays_where_the_bucket_demands_it(opened):
    objects = opened(requester_pays=True)
    asked = Asked(objects)
    objects.put(PATH, io.BytesIO(b"0123456789"))
    assert content_of(objects) == b"0123456789"
    objects.stat(PATH)
    list(objects.survey(""))
    objects.delete(PATH)
    assert {headers.get("x-amz-request-payer") for _, headers in asked} == {"requester"}
    assert objects.filesystem.req_kw == {"RequestPayer": "requester"}


@pytest.mark.parametrize(
    ("status", "code", "kind", "remedy"),
    [
        (404, "NoSuchBucket", LakeError, "there is no such bucket"),
        (403, "AccessDenied", LakeError, r"docs/guide/lakes\.md"),
        (403, "InvalidAccessKeyId", LakeError, "check AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", LakeError, "the clock of this machine is wrong"),
        (400, "ExpiredToken", LakeError, "log in again"),
        (301, "PermanentRedirect", LakeError, r"set storage\.s3\.region"),
        (501, "NotImplemented", LakeError, "this store does not know that request"),
        (503, "SlowDown", TransientLakeError, "Because"),
        (500, "InternalError", TransientLakeError, "Because"),
    ],
)
def test_every_refusal_is_an_error_with_a_remedy(objects, status, code, kind, remedy):
    answering(objects, "ListObjectsV2", status, code, times=3)
    with pytest.raises(LakeError, match=remedy) as caught:
        list(objects.list(""))
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)


def test_without_credentials_it_is_said_where_they_are_looked_for(opened, monkeypatch):
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    objects = opened(session=None, region=REGION)
    for read in (objects.stat, lambda path: objects.filesystem.open(objects.location(path))):
        with pytest.raises(LakeError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"):
            read(PATH)


def test_a_name_that_no_bucket_can_have_is_wrong_usage():
    with pytest.raises(UsageError, match=r'Invalid bucket name "No_bucket at all".*correct the lake\'s URL'):
        S3Objects("No_bucket at all", "", S3Options(region=REGION)).stat(PATH)


def test_a_bucket_that_is_not_there_is_no_missing_object(s3_server, session):
    objects = S3Objects("nobody-made-it", "", S3Options(endpoint_url=s3_server.endpoint_url, session=session))
    with pytest.raises(LakeError, match="there is no such bucket"):
        objects.open(PATH)
