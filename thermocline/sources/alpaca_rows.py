"""What Alpaca's answers mean: bars, contracts of a chain, articles, splits, dividends."""

from collections.abc import Iterator
from datetime import datetime

from thermocline.sources.contracts import contract_of
from thermocline.sources.transport import answers
from thermocline.sources.transport.answers import Record, Row, known, number, text


def bars_in(found: Record) -> Iterator[Record]:
    """The bars of an answer, each with its symbol as `S`."""
    for symbol, bars in (found.get("bars") or {}).items():
        for bar in bars:
            yield {"S": symbol, **bar}


def contracts_in(found: Record) -> Iterator[Record]:
    """The snapshots of an answer, each with its symbol as `contract`."""
    for symbol, snapshot in (found.get("snapshots") or {}).items():
        yield {"contract": symbol, **snapshot}


def contract(record: Record, underlying: str, at: datetime) -> Row:
    """The snapshot of a contract; what is not known is null. `underlying` is the symbol that was asked for."""
    named = contract_of(record["contract"])
    if named is None:
        msg = f"contract: {record['contract']!r} is no OCC symbol"
        raise ValueError(msg)
    quote, volatility = record.get("latestQuote"), known(record, "impliedVolatility")
    today = record.get("dailyBar") or {}
    is_today = bool(today) and answers.session_of(answers.instant(today["t"]), "option").date() == at.date()
    return {
        "contract_symbol": named.symbol,
        "underlying": underlying,
        "ts": at,
        "expiration": named.expiration,
        "strike": named.strike,
        "option_type": named.option_type,
        "bid": known(quote, "bp"),
        "ask": known(quote, "ap"),
        "last": known(record.get("latestTrade"), "p"),
        "volume": number(today, "v") if is_today else None,
        "implied_volatility": volatility,
        **answers.greeks(record.get("greeks"), volatility),
    }


def articles(record: Record) -> list[Row]:
    """A row for each symbol that an article speaks of."""
    article = {
        "article_id": str(record["id"]),
        "ts": answers.instant(record["created_at"]),
        "headline": text(record, "headline"),
        "summary": text(record, "summary"),
        "body": text(record, "content"),
        "url": text(record, "url"),
        "author": text(record, "author"),
        "publisher": text(record, "source"),
    }
    return [{**article, "symbol": symbol} for symbol in record.get("symbols") or [""]]


def actions_in(found: Record) -> Iterator[Record]:
    """The corporate actions of an answer, of whatever kind."""
    for kind, actions in (found.get("corporate_actions") or {}).items():
        for action in actions:
            yield {"kind": kind, **action}


def splits(record: Record) -> list[Row]:
    """A split."""
    return [
        {
            "asset_class": "equity",
            "symbol": record["symbol"],
            "ts": answers.day_stamp(record, "ex_date"),
            "old_shares": number(record, "old_rate"),
            "new_shares": number(record, "new_rate"),
        }
    ]


def dividends(record: Record) -> list[Row]:
    """A dividend."""
    return [
        {
            "asset_class": "equity",
            "symbol": record["symbol"],
            "ts": answers.day_stamp(record, "ex_date"),
            "kind": "special" if record.get("special") else "regular",
            "amount": number(record, "rate"),
            "currency": "USD",
            "record_on": answers.day(record, "record_date"),
            "paid_on": answers.day(record, "payable_date"),
        }
    ]
