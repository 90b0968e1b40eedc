"""URLs that may hold a secret."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.model.url import SecretUrl, file_url, is_secret_name, local_path, redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pw@h:5432/d", "postgresql://me:***@h:5432/d"),
        ("postgresql+psycopg://me:p@w@h/d", "postgresql+psycopg://me:***@h/d"),
        ("postgresql://me:p/w@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me:p?w@h/d", "postgresql://me:***@h/d"),
        ("postgresql://:pw@h/d", "postgresql://:***@h/d"),
        (
            "postgresql://h/d?user=me&password=pw&sslmode=require",
            "postgresql://h/d?user=me&password=***&sslmode=require",
        ),
        ("host=h password='p w' dbname=d", "host=h password=*** dbname=d"),
        ("host=h password = pw dbname=d", "host=h password = *** dbname=d"),
        ("s3://bucket/p?access_key_id=a&secret_access_key=pw", "s3://bucket/p?access_key_id=***&secret_access_key=***"),
    ],
)
def test_a_password_is_hidden(url, shown):
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://thermocline@/thermocline?host=/tmp/x&port=5432",
        "postgresql://me@h:5432/d",
        "file:///a/b@c",
        "s3://bucket/a:b/c",
        "/a/plain/path",
        "",
    ],
)
def test_a_url_without_a_secret_is_shown_as_it_is(url):
    assert redacted(url) == url


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), min_size=8))
def test_no_password_whatever_its_spelling_survives(password):
    secret = f"<<{password}>>"
    assert secret not in redacted(f"postgresql://me:{secret}@host/db")


def test_a_secret_url_shows_itself_without_its_password():
    url = SecretUrl("postgresql://me:pw@h/d")
    assert str(url) == f"{url}" == "postgresql://me:***@h/d"
    assert repr(url) == "SecretUrl('postgresql://me:***@h/d')"
    assert url.reveal() == "postgresql://me:pw@h/d"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
def test_a_file_url_gives_its_path_back(name):
    path = PurePosixPath("/") / name
    assert local_path(file_url(path)) == path


def test_a_file_url_may_be_written_by_hand():
    assert local_path("file:///a b/c?d#e") == PurePosixPath("/a b/c?d#e")
    assert local_path("file://localhost/a") == PurePosixPath("/a")
    assert local_path("file://relative/a") is None
    assert local_path("s3://bucket/a") is None


def test_names_of_secrets_are_known():
    assert all(map(is_secret_name, ["password", "api_key", "SECRET_KEY", "auth_token", "key"]))
    assert not any(map(is_secret_name, ["path", "key_column", "kind", "symbols"]))
