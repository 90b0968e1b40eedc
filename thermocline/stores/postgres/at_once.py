"""The answer that one hot segment gives, in a single round trip: a look at what is known, and the rows, together.

Most questions are small and about hot days, and what they cost is going back and forth. So the plan is made from what
was known at the last look (see `facts`), and one message to the server begins the look, checks in its snapshot that all
of this is still so, reads the rows and ends. Where it is not so, no row was given, and the question is asked anew in a
look of its own.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

import pyarrow as pa
from psycopg.errors import error_from_result
from psycopg.generators import execute, fetch_many
from psycopg.pq import ExecStatus

from thermocline.model.partition import Partition
from thermocline.model.query import Query, Segment, Tier, plan_route
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.copy_out import BATCH_BYTES, BATCH_ROWS, next_message, receive
from thermocline.stores.postgres.decode import Received
from thermocline.stores.postgres.facts import Facts, Known, any_late
from thermocline.stores.postgres.reader import select_sql

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

_MOST_DAYS = 400
_YES, _NO = b"t", b"f"


def only_segment(known: Known, facts: Facts, query: Query) -> tuple[Segment, bool] | None:
    """The one hot segment that answers, and whether that is so only while its days have no late rows."""
    if query.as_of_vintage is not None:
        return None
    days, dataset = query.days, query.dataset
    if (days.end - days.start).days <= _MOST_DAYS and len(query.intervals) == dataset.has_intervals:
        interval = query.intervals[0] if query.intervals else ""
        if all(Partition(dataset.name, interval, day) in facts.hot for day in days):
            return Segment(Tier.HOT, interval, tuple(days)), False
    live = known.live(dataset, facts.generation)
    if live is None:
        return None
    vintages = live.of(days, query.intervals)
    if any(vintage.partition not in facts.hot for vintage in vintages):
        return None
    match plan_route(query, hot=facts.hot, live=vintages).segments:
        case [segment] if segment.tier is Tier.HOT:
            return segment, True
    return None


def begin(
    connection: Connection, facts: Facts, query: Query, segment: Segment, *, unless_late: bool
) -> Generator[pa.RecordBatch, None, None] | None:
    """Ask; the rows of the answer, of which the first are on their way, or None where something has changed.

    Unless the rows are taken to their end, the connection is good for nothing else.

    Raises:
        psycopg.Error: The server is gone, or refuses.
    """
    partitions = [Partition(query.dataset.name, segment.interval, day) for day in segment.days]
    leaves = [facts.leaves[partition] for partition in partitions if partition in facts.leaves]
    if len(leaves) != len(partitions):
        return None
    rows = select_sql(connection, query, leaves)
    late = any_late(query.dataset, query.days).as_string(connection) if unless_late else "false"
    statement = (
        f"{facts.locking}; SELECT {facts.condition_on(leaves)}, {late}; COPY ({rows}) TO STDOUT (FORMAT BINARY); COMMIT"
    )
    connection.pgconn.send_query(statement.encode(connection.info.encoding))
    results: list[PGresult] = connection.wait(execute(connection.pgconn))
    if results[-1].status != ExecStatus.COPY_OUT:
        return None
    checked = results[-2]
    if checked.get_value(0, 0) != _YES or checked.get_value(0, 1) != _NO:
        return None
    return _rows(connection, query)


def _rows(connection: Connection, query: Query) -> Generator[pa.RecordBatch, None, None]:
    received = Received([query.dataset.column(name) for name in query.names])
    more = received.begin(next_message(connection))
    while more:
        more = receive(connection, received, BATCH_ROWS, BATCH_BYTES)
        if received.sizes:
            yield received.take()
    next_message(connection)  # that all is sent
    for result in connection.wait(fetch_many(connection.pgconn)):
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)
