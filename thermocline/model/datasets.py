"""The datasets that come with Thermocline, and those that this process knows beside them.

One that everybody should have is declared here, one of your own in thermocline.yaml; every store follows.
"""

import difflib

from thermocline.errors import UnknownDatasetError
from thermocline.model.dataset import Column, Dataset, Kind
from thermocline.model.declared import Declared

_TS = "the instant in UTC; a daily row carries its session's date at 00:00"
_PROVENANCE = (
    Column("source", Kind.TEXT, nullable=False, description="who delivered the row"),
    Column("ingested_at", Kind.TIMESTAMP, nullable=False, description="when Thermocline accepted the row"),
)


def _required(name: str, kind: Kind, description: str = "") -> Column:
    return Column(name, kind, nullable=False, description=description)


MARKET_DATA = Dataset(
    name="market_data",
    description="OHLCV bars of any size",
    columns=(
        _required("asset_class", Kind.TEXT, "equity, crypto, forex, future, index …"),
        _required("symbol", Kind.TEXT),
        _required("interval", Kind.TEXT, "the bar's size: 1min, 5min, 1hour, 1day …"),
        _required("ts", Kind.TIMESTAMP, "the instant the bar opens; " + _TS),
        _required("open", Kind.PRICE),
        _required("high", Kind.PRICE),
        _required("low", Kind.PRICE),
        _required("close", Kind.PRICE),
        Column("volume", Kind.FLOAT),
        Column("vwap", Kind.PRICE, description="volume-weighted average price"),
        Column("trade_count", Kind.INTEGER),
        *_PROVENANCE,
    ),
    key=("asset_class", "symbol", "interval", "ts"),
    has_intervals=True,
)

OPTIONS_DATA = Dataset(
    name="options_data",
    description="option chains with Greeks, a snapshot of a contract a row",
    columns=(
        _required("contract_symbol", Kind.TEXT, "OCC symbol, such as AAPL230616C00150000"),
        _required("underlying", Kind.TEXT),
        _required("ts", Kind.TIMESTAMP, _TS),
        _required("expiration", Kind.DATE),
        _required("strike", Kind.PRICE),
        _required("option_type", Kind.TEXT, "call or put"),
        Column("bid", Kind.PRICE),
        Column("ask", Kind.PRICE),
        Column("last", Kind.PRICE),
        Column("underlying_price", Kind.PRICE),
        Column("volume", Kind.FLOAT),
        Column("open_interest", Kind.FLOAT),
        Column("implied_volatility", Kind.FLOAT, description="a year's, as a fraction; null when unknown, never 0"),
        Column("delta", Kind.FLOAT),
        Column("gamma", Kind.FLOAT),
        Column("theta", Kind.FLOAT),
        Column("vega", Kind.FLOAT),
        Column("rho", Kind.FLOAT),
        *_PROVENANCE,
    ),
    key=("contract_symbol", "ts"),
    symbol_column="underlying",
)

FORECASTS = Dataset(
    name="forecasts",
    description="predicted prices, by model and horizon",
    columns=(
        _required("symbol", Kind.TEXT),
        _required("ts", Kind.TIMESTAMP, "the instant the forecast was made, in UTC"),
        _required("model_name", Kind.TEXT),
        _required("model_version", Kind.TEXT),
        _required("horizon_days", Kind.INTEGER),
        _required("predicted_price", Kind.PRICE),
        Column("confidence_low", Kind.PRICE, description="lower bound of the confidence interval"),
        Column("confidence_high", Kind.PRICE, description="upper bound of the confidence interval"),
        Column("confidence_score", Kind.FLOAT, description="0 to 1"),
        *_PROVENANCE,
    ),
    key=("symbol", "model_name", "model_version", "horizon_days", "ts"),
)

NEWS = Dataset(
    name="news",
    description="articles and filings, a row for each symbol they speak of",
    columns=(
        _required("article_id", Kind.TEXT),
        Column(
            "symbol",
            Kind.TEXT,
            nullable=False,
            description="empty when the article names no instrument",
            empty_allowed=True,
        ),
        _required("ts", Kind.TIMESTAMP, "the instant of publication, in UTC"),
        _required("headline", Kind.TEXT),
        Column("summary", Kind.TEXT),
        Column("body", Kind.TEXT),
        Column("url", Kind.TEXT),
        Column("author", Kind.TEXT),
        Column("publisher", Kind.TEXT),
        Column("category", Kind.TEXT),
        Column("sentiment_score", Kind.FLOAT, description="-1 to 1"),
        Column("relevance_score", Kind.FLOAT, description="0 to 1"),
        *_PROVENANCE,
    ),
    key=("article_id", "symbol", "ts"),
)

FEATURES = Dataset(
    name="features",
    description="indicators derived from bars, a row for each instrument and session",
    columns=(
        _required("asset_class", Kind.TEXT),
        _required("symbol", Kind.TEXT),
        _required("ts", Kind.TIMESTAMP, _TS),
        Column("rsi_14", Kind.FLOAT, description="relative strength index over 14 bars, 0 to 100"),
        Column("sma_20", Kind.PRICE, description="simple moving average of 20 closes"),
        Column("sma_50", Kind.PRICE, description="simple moving average of 50 closes"),
        Column("sma_200", Kind.PRICE, description="simple moving average of 200 closes"),
        Column("volatility_20", Kind.FLOAT, description="annualised deviation of 20 daily log returns, as a fraction"),
        Column("beta", Kind.FLOAT, description="against the benchmark, 252 daily returns"),
        Column("market_cap", Kind.MONEY, description="in the currency of the quote"),
        Column("pe_ratio", Kind.FLOAT, description="price over trailing earnings"),
        *_PROVENANCE,
    ),
    key=("asset_class", "symbol", "ts"),
)

SOCIAL_SENTIMENT = Dataset(
    name="social_sentiment",
    description="what social platforms say of an instrument",
    columns=(
        _required("platform", Kind.TEXT, "reddit, x, stocktwits …"),
        _required("symbol", Kind.TEXT),
        _required("ts", Kind.TIMESTAMP, "the start of the window that was counted, in UTC"),
        Column("sentiment_score", Kind.FLOAT, description="-1 to 1"),
        Column("mention_count", Kind.INTEGER),
        Column("positive_count", Kind.INTEGER),
        Column("negative_count", Kind.INTEGER),
        Column("neutral_count", Kind.INTEGER),
        Column("engagement_count", Kind.INTEGER, description="likes, replies and reposts together"),
        *_PROVENANCE,
    ),
    key=("platform", "symbol", "ts"),
)

INSTRUMENTS = Dataset(
    name="instruments",
    description="which instrument a symbol named from which day on, a row for each symbol that an instrument had",
    columns=(
        _required("instrument_id", Kind.TEXT, "permanent: it outlives renames, and a reused symbol gets another one"),
        _required("asset_class", Kind.TEXT),
        _required("symbol", Kind.TEXT),
        _required("ts", Kind.TIMESTAMP, "the first day on which the symbol names it, at 00:00"),
        Column("until", Kind.DATE, description="the first day on which it no longer does; null while it does"),
        Column("exchange", Kind.TEXT),
        Column("name", Kind.TEXT),
        *_PROVENANCE,
    ),
    key=("instrument_id", "symbol", "ts"),
)

SPLITS = Dataset(
    name="splits",
    description="share splits, and other events that multiply the number of shares",
    columns=(
        _required("asset_class", Kind.TEXT),
        _required("symbol", Kind.TEXT, "as it was on that day"),
        _required("ts", Kind.TIMESTAMP, "the first session that trades at the new price, at 00:00"),
        _required("old_shares", Kind.PRICE, "so many shares became `new_shares`: 1 and 7 for a 7:1 split"),
        _required("new_shares", Kind.PRICE),
        *_PROVENANCE,
    ),
    key=("asset_class", "symbol", "ts"),
)

DIVIDENDS = Dataset(
    name="dividends",
    description="cash paid to the holders of a share",
    columns=(
        _required("asset_class", Kind.TEXT),
        _required("symbol", Kind.TEXT, "as it was on that day"),
        _required("ts", Kind.TIMESTAMP, "the ex-date: the first session that trades without it, at 00:00"),
        _required("kind", Kind.TEXT, "regular or special; regular where the source does not tell"),
        _required("amount", Kind.PRICE, "for one share, as it was on that day"),
        Column("currency", Kind.TEXT),
        Column("declared_on", Kind.DATE),
        Column("record_on", Kind.DATE),
        Column("paid_on", Kind.DATE),
        *_PROVENANCE,
    ),
    key=("asset_class", "symbol", "kind", "ts"),
)

BUILT_IN: tuple[Dataset, ...] = (
    MARKET_DATA,
    OPTIONS_DATA,
    FORECASTS,
    NEWS,
    FEATURES,
    SOCIAL_SENTIMENT,
    INSTRUMENTS,
    SPLITS,
    DIVIDENDS,
)
"""What every home has."""

DATASETS = Declared(BUILT_IN)
"""What this process knows: a mapping from names to datasets, in order."""


def dataset_named(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        UnknownDatasetError: There is none; the text names the nearest one.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise nearest(name) from None


def nearest(name: str) -> UnknownDatasetError:
    """What to say of a name that no dataset has."""
    near = difflib.get_close_matches(name, DATASETS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(DATASETS)}."
    return UnknownDatasetError(f"no dataset is called {name!r}; {hint}")
