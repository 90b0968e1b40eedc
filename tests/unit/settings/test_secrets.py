"""No password is ever shown."""

import pickle

import pytest
from pydantic import BaseModel
from settings_acts import load, refused

from thermocline.settings import load_settings


def test_no_password_is_ever_shown(write):
    write("sources: {broker: {kind: rest, api_key: hunter2, nested: {token: hunter2}, url: 'https://u:hunter2@x'}}")
    settings = load(
        HOT_URL="postgresql://me:hunter2@db/market?sslpassword=hunter2",
        LAKE_URL="s3://KEY:hunter2@bucket/lake",
        CATALOG_URL="postgresql://me:hunter2@catalog/d",
        STORAGE__CACHE__REDIS_URL="rediss://:hunter2@cache:6379/0?password=hunter2",
    )
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json(), f"{settings}"):
        assert "hunter2" not in shown
    assert settings.hot_url.reveal() == "postgresql://me:hunter2@db/market?sslpassword=hunter2"
    assert str(settings.hot_url) == "postgresql://me:***@db/market?sslpassword=***"
    assert settings.sources["broker"]["api_key"] == "hunter2"
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  # our own bytes


def test_no_password_gets_into_an_error():
    for text in (
        refused(HOT_URL="host=db password=hunter2"),
        refused(HOT_URL='{"a": "postgresql://u:hunter2@h/d"}'),
        refused(SOURCES='{"broker": ["token=hunter2"]}'),
        refused(SOURCES__BROKER="token=hunter2"),
        refused(STORAGE__CACHE__REDIS_URL="http://:hunter2@cache"),
    ):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/x",
        "hunter2://h/x",
        "u:hunter2@h/x",
        "host=h user=u password='hunter2'",
        "postgresql://u:hunter2 @h/x",
        "postgresql://u:hunter2%zz@h/x",
        "postgresql://u:hunter2/7@h/x",
        "postgresql://u:hunter2?7@h/x",
        "postgresql://u:hunter2@[h/x",
        "postgresql://h/x?password=hunter2 7",
    ],
)
def test_a_url_that_postgresql_can_not_take_is_refused_without_its_password(url):
    for text in (refused(HOT_URL=url), refused(CATALOG_URL=url)):
        assert "hunter2" not in text
        assert "postgresql://USER:PASSWORD@HOST:5432/DATABASE" in text or "%20 for a space" in text


@pytest.mark.parametrize(
    ("written", "hot"),
    [
        ("postgres://u:p@h:1/d", "postgres://u:p@h:1/d"),
        ("postgresql+psycopg://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        ("postgresql://u:p%2F@[::1]:5432,other/d", "postgresql://u:p%2F@[::1]:5432,other/d"),
        ("postgresql://u@/d?host=/run/a%20b", "postgresql://u@/d?host=/run/a%20b"),
        ("postgresql:///d", "postgresql:///d"),
    ],
)
def test_the_hot_url_is_what_libpq_takes(written, hot):
    assert load(HOT_URL=written).hot_url.reveal() == hot


def test_the_catalog_is_one_with_a_driver():
    assert load(CATALOG_URL="postgresql://h/d").catalog_url.reveal() == "postgresql+psycopg://h/d"
    assert load(CATALOG_URL="sqlite:////a/c.db").catalog_url.reveal() == "sqlite:////a/c.db"
    assert "REST, Glue and other catalogs come with a later release" in refused(CATALOG_URL="https://u:hunter2@h/x")


def test_settings_can_not_be_changed():
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.hot_url = None
    assert isinstance(settings, BaseModel)


def test_a_vendor_s_key_is_found_in_its_variable_and_never_shows_itself():
    settings = load_settings(environ={"ACME_KEY": "", "ACME_API_KEY": "hunter2"})
    key = settings.variable("ACME_KEY", "ACME_API_KEY")
    assert key
    assert key.get_secret_value() == "hunter2"
    assert settings.variable("OTHER_KEY") is None
    assert (
        "hunter2" not in f"{key} {key!r} {settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    )
