"""Keys, payers, credentials, and what is said where Google refuses."""

import io

import pytest
from gcs_acts import KEY, LARGE, PATH, resource
from google.cloud import storage

from thermocline.errors import LakeError, TransientLakeError
from thermocline.stores.gcs import GcsObjects, GcsOptions


@pytest.mark.parametrize("size", [10, LARGE])
def test_objects_are_encrypted_with_the_key_of_the_settings_also_where_they_are_moved(opened, server, bucket, size):
    stored = opened(kms_key_name=KEY).put(PATH, io.BytesIO(b"x" * size))
    assert resource(server, bucket)["kmsKeyName"] == f"{KEY}/cryptoKeyVersions/1"
    opened().transition(stored, "NEARLINE")
    assert resource(server, bucket)["kmsKeyName"] == f"{KEY}/cryptoKeyVersions/1"
    opened(kms_key_name=f"{KEY}2").transition(opened().stat(PATH), "COLDLINE")
    assert resource(server, bucket)["kmsKeyName"] == f"{KEY}2/cryptoKeyVersions/1"


def test_whoever_asks_pays_where_the_bucket_demands_it(opened, server, bucket, asked):
    real = server.client().bucket(bucket, user_project="mine")
    real.reload()
    real.requester_pays = True
    real.patch()
    with pytest.raises(LakeError, match=r"set storage\.gcs\.user_project"):
        opened().put(PATH, io.BytesIO(b"rows"))
    objects = opened(user_project="payer")
    with asked() as requests:
        stored = objects.put(PATH, io.BytesIO(b"x" * LARGE))
        objects.open(PATH).read(10)
        objects.transition(objects.stat(PATH), "NEARLINE")
        assert list(objects.list("")) == [stored.path]
        assert objects.rules() == []
        with objects.filesystem.open(objects.location(PATH)) as stream:
            assert stream.read(3) == b"xxx"
        objects.delete(PATH)
    uploads = [request for request in requests if request.method == "PUT"]
    assert {r.parameters.get("userProject") for r in requests if r not in uploads} == {"payer"}


REFUSALS = [
    (401, "Invalid Credentials", LakeError, "gcloud auth application-default login"),
    (403, "x does not have storage.objects.create access", LakeError, r"docs/guide/lakes\.md has the roles"),
    (429, "Too many requests", TransientLakeError, "Too many requests"),
    (503, "Backend error", TransientLakeError, "Backend error"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_is_an_error_with_a_remedy(objects, server, bucket, refusal):
    status, said, error, remedy = refusal
    stored = objects.put(PATH, io.BytesIO(b"rows"))
    acts = [
        lambda: objects.put("a", io.BytesIO(b"x")),
        lambda: objects.put("b", io.BytesIO(b"x" * LARGE)),
        lambda: objects.open(PATH),
        lambda: objects.stat(PATH),
        lambda: objects.delete(PATH),
        lambda: list(objects.list("")),
        lambda: objects.transition(stored, "NEARLINE"),
        objects.rules,
    ]
    for act in acts:
        server.refuse(bucket, status, said)
        with pytest.raises(error, match=remedy) as caught:
            act()
        assert type(caught.value) is error
        if status != 401:  # of which the SDK says something of its own
            assert f"{said} ({status})" in str(caught.value)
        assert "upload_id" not in str(caught.value)
    assert objects.stat(PATH) == stored


def test_a_bucket_that_is_not_there_is_no_missing_object(server):
    objects = GcsObjects("none", "", GcsOptions(endpoint_url=server.endpoint_url))
    for act in (lambda: objects.put(PATH, io.BytesIO(b"x")), lambda: list(objects.list("")), objects.rules):
        with pytest.raises(LakeError, match="there is no such bucket; make it"):
            act()


def test_what_the_bucket_must_keep_is_not_deleted(objects, server, bucket):
    objects.put(PATH, io.BytesIO(b"rows"))
    real = server.client().bucket(bucket)
    real.reload()
    real.retention_period = 3600
    real.patch()
    with pytest.raises(LakeError, match="keeps it for a while"):
        objects.delete(PATH)
    assert objects.open(PATH).read() == b"rows"


def test_what_a_bucket_keeps_and_bills_is_said_once_when_its_rules_are_read(objects, server, bucket, caplog):
    real = server.client().bucket(bucket)
    real.reload()
    assert objects.rules() == []
    assert not caplog.records
    real.versioning_enabled = True
    real.soft_delete_policy.retention_duration_seconds = 7 * 86_400
    real.retention_period = 86_400
    real.patch()
    objects = GcsObjects(bucket, "lake", GcsOptions(endpoint_url=server.endpoint_url))
    for _ in range(2):
        objects.rules()
    said = [record.getMessage().removeprefix(f"gs://{bucket} ") for record in caplog.records]
    assert [line.partition(",")[0] for line in said] == [
        "keeps every object that is deleted or moved",
        "keeps what is deleted or moved for 7 days more (soft delete)",
        "lets nobody delete or move an object in its first 1 days (retention policy)",
    ]


def test_no_credentials_is_an_error_with_a_remedy(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(LakeError, match="gcloud auth application-default login"):
        GcsObjects(bucket).stat(PATH)


def test_only_another_store_is_asked_without_credentials(monkeypatch, tmp_path, bucket):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    for endpoint in ("https://storage.googleapis.com", "https://storage-x.p.googleapis.com"):
        with pytest.raises(LakeError, match="there are no credentials"):
            GcsObjects(bucket, "", GcsOptions(endpoint_url=endpoint)).stat(PATH)


def test_the_store_is_found_by_the_variable_of_emulators(server, bucket, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint_url)
    objects = GcsObjects(bucket)
    objects.put(PATH, io.BytesIO(b"rows"))
    with objects.filesystem.open(objects.location(PATH)) as stream:
        assert stream.read() == b"rows"


def test_a_client_that_is_given_does_the_asking(server, bucket, asked):
    class Noting(storage.Client):
        asked = 0

        def bucket(self, *arguments, **options):
            type(self).asked += 1
            return super().bucket(*arguments, **options)

    client = Noting(
        project="mine", client_options={"api_endpoint": server.endpoint_url}, use_auth_w_custom_endpoint=False
    )
    with asked() as requests:
        GcsObjects(bucket, "", GcsOptions(client=client)).put(PATH, io.BytesIO(b"rows"))
    assert Noting.asked
    assert [request.method for request in requests] == ["POST"]
