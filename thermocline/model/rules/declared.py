"""The rules of each dataset. A rule that is added here holds wherever rows come in."""

from collections.abc import Callable, Mapping

from thermocline.model.dataset import Dataset
from thermocline.model.rules import bars, options, times
from thermocline.model.rules.ranges import above_zero, between, filled, not_negative, not_negative_price, ordered
from thermocline.model.rules.rows import Mask, Rows
from thermocline.model.rules.rule import Rule, Severity

_GREEKS = ("delta", "gamma", "theta", "vega", "rho")

TIME_UNIT = Rule(
    "time_unit",
    "a batch does not lie in 1970, as seconds read as milliseconds or milliseconds read as microseconds do",
    times.unit_slips,
)
FUTURE = Rule("future", "ts does not lie in the future", times.in_the_future)

EVERYWHERE = (TIME_UNIT, FUTURE)
"""Rules of every dataset, but for those whose rows are announced ahead: there only `time_unit` holds."""

_ANNOUNCED = frozenset({"instruments", "splits", "dividends"})


def _rule(name: str, says: str, broken: Callable[[Rows], Mask], severity: Severity = Severity.REJECT) -> Rule:
    return Rule(name, says, broken, severity)


RULES: Mapping[str, tuple[Rule, ...]] = {
    "market_data": (
        Rule("vwap_unknown", "a vwap of 0 is no price and becomes null", bars.vwap_zero, Severity.CLEAR, ("vwap",)),
        _rule("alignment", "a bar opens where one of its interval can", bars.misaligned),
        _rule("positive_prices", "prices are above 0, but those of futures, indices and rates", bars.not_positive),
        _rule("ohlc", "low is the lowest and high the highest of its prices", bars.ohlc_broken),
        _rule("vwap", "vwap lies between low and high, give or take 1 %", bars.vwap_outside, Severity.WARN),
        _rule("volume", "volume is 0 or more", not_negative("volume")),
        _rule("trade_count", "trade_count is 0 or more", not_negative("trade_count")),
    ),
    "options_data": (
        Rule(
            "iv_unknown",
            "an implied volatility of 0 is unknown and becomes null",
            options.iv_zero,
            Severity.CLEAR,
            ("implied_volatility",),
        ),
        Rule(
            "greeks_unknown",
            "Greeks that are all 0 beside an unknown volatility are unknown too and become null",
            options.greeks_zero(_GREEKS),
            Severity.CLEAR,
            _GREEKS,
        ),
        _rule("option_type", "option_type is call or put", options.neither_call_nor_put),
        _rule("strike", "strike is above 0", above_zero("strike")),
        _rule("contract", "expiration, option_type and strike are those of the contract symbol", options.contradicts),
        _rule("contract_root", "the contract symbol names the underlying", options.other_root, Severity.WARN),
        _rule("expired", "the contract has not expired before its day", options.expired),
        _rule("quotes", "bid, ask, last and underlying_price are 0 or more", not_negative_price(*options.QUOTES)),
        _rule("crossed", "bid is not above ask", options.crossed, Severity.WARN),
        _rule("volume", "volume and open_interest are 0 or more", not_negative("volume", "open_interest")),
        _rule("iv_range", "implied_volatility is above 0 and at most 10", options.iv_absurd),
        _rule("greeks_range", "delta lies in -1 to 1, gamma and vega are 0 or more", options.greeks_absurd),
    ),
    "forecasts": (
        _rule("predicted_price", "predicted_price is above 0", above_zero("predicted_price")),
        _rule("horizon", "horizon_days is above 0", above_zero("horizon_days")),
        _rule(
            "confidence",
            "confidence_low, predicted_price and confidence_high rise in this order",
            ordered("confidence_low", "predicted_price", "confidence_high"),
        ),
        _rule("confidence_score", "confidence_score lies in 0 to 1", between(0, 1, "confidence_score")),
    ),
    "news": (
        _rule("headline", "headline has something in it", filled("headline")),
        _rule("sentiment_score", "sentiment_score lies in -1 to 1", between(-1, 1, "sentiment_score")),
        _rule("relevance_score", "relevance_score lies in 0 to 1", between(0, 1, "relevance_score")),
    ),
    "features": (
        _rule("rsi", "rsi_14 lies in 0 to 100", between(0, 100, "rsi_14")),
        _rule("sma", "moving averages are above 0", above_zero("sma_20", "sma_50", "sma_200")),
        _rule("volatility", "volatility_20 is 0 or more", not_negative("volatility_20")),
        _rule("market_cap", "market_cap is 0 or more", not_negative("market_cap")),
    ),
    "social_sentiment": (
        _rule("sentiment_score", "sentiment_score lies in -1 to 1", between(-1, 1, "sentiment_score")),
        _rule(
            "counts",
            "counts are 0 or more",
            not_negative("mention_count", "positive_count", "negative_count", "neutral_count", "engagement_count"),
        ),
    ),
    "instruments": (_rule("until", "until comes after the first day", times.ends_before_it_begins),),
    "splits": (_rule("shares", "old_shares and new_shares are above 0", above_zero("old_shares", "new_shares")),),
    "dividends": (_rule("amount", "amount is above 0", above_zero("amount")),),
}
"""The rules of each dataset beside those that hold everywhere."""


def rules_of(dataset: Dataset) -> tuple[Rule, ...]:
    """All rules of a dataset, in the order in which they are looked at: those that clear come first."""
    general = (TIME_UNIT,) if dataset.name in _ANNOUNCED else EVERYWHERE
    rules = (*general, *RULES.get(dataset.name, ()))
    return tuple(sorted(rules, key=lambda rule: rule.severity is not Severity.CLEAR))
