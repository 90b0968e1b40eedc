"""What Massive's records mean: contracts of a chain, articles, splits, dividends, symbols of a company."""

from datetime import date, datetime

from thermocline.model.partition import midnight
from thermocline.sources.contracts import contract_of
from thermocline.sources.transport import answers
from thermocline.sources.transport.answers import Record, Row, known, number, text


def contract(record: Record, underlying: str, at: datetime) -> Row:
    """The snapshot of a contract; what is not known is null. `underlying` is the symbol that was asked for."""
    details = record["details"]
    named = contract_of(details["ticker"])
    if named is None:
        msg = f"ticker: {details['ticker']!r} is no OCC symbol"
        raise ValueError(msg)
    quote, today = record.get("last_quote"), record.get("day") or {}
    volatility = known(record, "implied_volatility")
    updated = today.get("last_updated")
    # A contract that did not trade today still shows the day on which it did.
    is_today = isinstance(updated, int) and answers.milliseconds(updated // 1_000_000).date() == at.date()
    return {
        "contract_symbol": named.symbol,
        "underlying": underlying,
        "ts": at,
        "expiration": date.fromisoformat(details["expiration_date"]),
        "strike": named.strike,
        "option_type": details["contract_type"],
        "bid": known(quote, "bid"),
        "ask": known(quote, "ask"),
        "last": known(record.get("last_trade"), "price"),
        "underlying_price": known(record.get("underlying_asset"), "price"),
        "volume": number(today, "volume") if is_today else None,
        "open_interest": number(record, "open_interest"),
        "implied_volatility": volatility,
        **answers.greeks(record.get("greeks"), volatility),
    }


def articles(record: Record) -> list[Row]:
    """A row for each symbol that an article speaks of."""
    article = {
        "article_id": record["id"],
        "ts": answers.instant(record["published_utc"]),
        "headline": text(record, "title"),
        "summary": text(record, "description"),
        "url": text(record, "article_url"),
        "author": text(record, "author"),
        "publisher": text(record.get("publisher"), "name"),
    }
    return [{**article, "symbol": symbol} for symbol in record.get("tickers") or [""]]


def splits(record: Record) -> list[Row]:
    """A split."""
    return [
        {
            "asset_class": "equity",
            "symbol": record["ticker"],
            "ts": answers.day_stamp(record, "execution_date"),
            "old_shares": number(record, "split_from"),
            "new_shares": number(record, "split_to"),
        }
    ]


def dividends(record: Record) -> list[Row]:
    """A dividend, as it was paid on that day."""
    kind = text(record, "distribution_type")
    return [
        {
            "asset_class": "equity",
            "symbol": record["ticker"],
            "ts": answers.day_stamp(record, "ex_dividend_date"),
            "kind": "regular" if kind in {None, "recurring"} else kind,
            "amount": number(record, "cash_amount"),
            "currency": text(record, "currency"),
            "declared_on": answers.day(record, "declaration_date"),
            "record_on": answers.day(record, "record_date"),
            "paid_on": answers.day(record, "pay_date"),
        }
    ]


def symbols(record: Record) -> list[Row]:
    """The symbols that a company had, each until the day of the next change."""
    changes = sorted((date.fromisoformat(each["date"]), each["ticker_change"]["ticker"]) for each in record["events"])
    ends = [day for day, _ in changes[1:]] + [None]
    return [
        {
            "instrument_id": record.get("composite_figi") or f"cik:{record['cik']}",
            "asset_class": "equity",
            "symbol": symbol,
            "ts": midnight(day),
            "until": end,
            "name": text(record, "name"),
        }
        for (day, symbol), end in zip(changes, ends, strict=True)
    ]
