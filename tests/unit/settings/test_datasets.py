"""Datasets that are declared in settings."""

import pytest
from settings_acts import load, refused


def test_a_dataset_is_declared_by_its_columns_and_gets_what_every_dataset_needs(write):
    write(
        "datasets: {mine: {description: scores, columns: {symbol: text, model: text, score: {kind: float, "
        "required: true}}, key: [symbol, model], has_intervals: true, hot_days: 3}}"
    )
    settings = load()
    (mine,) = settings.declared
    assert mine.names == ("symbol", "model", "score", "interval", "ts", "source", "ingested_at")
    assert mine.key == ("symbol", "model", "interval", "ts")
    assert (mine.symbol_column, mine.has_intervals, mine.description) == ("symbol", True, "scores")
    assert [column.name for column in mine.columns if column.nullable] == []
    assert settings.lifecycle.windows == {"mine": 3}


def test_a_built_in_dataset_gets_columns_in_front_of_its_provenance(write):
    write("datasets: {news: {columns: {language: text}}, market_data: {hot_days: 3}}")
    (news,) = load(DATASETS__NEWS__COLUMNS='{"tone": "float"}').declared
    assert news.names[-4:] == ("language", "tone", "source", "ingested_at")


def test_feeds_and_freshness_may_name_a_dataset_that_is_declared_beside_them(write):
    write("datasets: {mine: {columns: {symbol: text}}}\nfreshness: {mine: {}}\nfeeds: {files/mine: {}}")
    assert list(load().feeds) == ["files/mine"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("news: {columns: {headline: text}}", "news has a column headline already"),
        ("news: {columns: {tone: float}, key: [tone]}", "only columns can be added to it"),
        ("news: {columns: {tone: {kind: float, required: true}}}", "leave out `required`"),
        ("news: {columns: {tone: flaot}}", "datasets.news.columns.tone.kind: 'flaot' should be"),
        ("news: {columns: [tone]}", "should be a mapping from columns to kinds"),
        ("nws: {columns: {tone: float}}", "no column symbol; add it, or say which one is its `symbol_column`"),
        ("mine: {columns: {symbol: price}}", "column symbol of mine must be text"),
        ("mine: {columns: {symbol: text, source: text}}", "source is filled in by Thermocline"),
        ("mine: {columns: {symbol: text, xmin: text}}", "'xmin' can't be the name of a column"),
        ("mine: {columns: {symbol: text}, key: [model]}", "mine: columns are missing or named twice: ['model']"),
        ("Mine: {columns: {symbol: text}}", "'Mine' can't be the name of a dataset"),
        ("market_data_1day: {columns: {symbol: text}}", "what the bars of 1day of market_data are called"),
        ("mine: {columns: {symbol: text}, rules: {ohlc: warn}}", "mine has no rule 'ohlc'"),
    ],
)
def test_a_dataset_that_no_store_could_hold_is_refused(write, section, expected):
    write(f"datasets: {{{section}}}")
    assert expected in refused()


def test_a_lake_in_memory_is_a_lake():
    assert load(LAKE_URL="memory://").lake_url.reveal() == "memory://"
