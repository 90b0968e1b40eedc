"""What tests do to a lake alone: write days, name them, ask for them."""

from datetime import timedelta
from io import BytesIO

from made_rows import DAY, NOON

from thermocline.model.partition import Partition
from thermocline.model.query import Segment, Tier
from thermocline.model.receipt import Vintage


def day(number, interval="1day"):
    return Partition("market_data", interval, DAY + timedelta(days=number))


def write(lake, batch, partition=None, version=1):
    return lake.write(partition or day(0), version, [batch], run_id="run-1")


def published(*receipts):
    return tuple(Vintage(receipt, NOON) for receipt in receipts)


def cold(*receipts, days=None):
    days = days or [receipt.partition.day for receipt in receipts]
    interval = receipts[0].partition.interval if receipts else "1day"
    return Segment(Tier.COLD, interval, tuple(days), published(*receipts))


def answer(lake, query, segment, late=None):
    with lake.scan(query, segment, late) as reader:
        table = reader.read_all()
    assert table.schema.names == list(query.names)
    return table


def tamper(lake, receipt, change):
    with lake.objects.open(receipt.path) as stream:
        body = stream.read()
    lake.objects.delete(receipt.path)
    lake.objects.put(receipt.path, BytesIO(change(body)))
