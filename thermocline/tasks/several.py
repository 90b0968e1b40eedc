"""Several days of a dataset at once, each in a thread and on a connection of its own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from queue import SimpleQueue
from typing import TypeVar

from thermocline.ports import Mover, Writer

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 2
"""While PostgreSQL works for one day, another is decoded, compared or written: that keeps two cores busy."""


@contextmanager
def several(
    writer: Writer,
    items: Sequence[Item],
    act: Callable[[Mover, Item], Result],
    *,
    is_writer_free: bool,
    at_once: int = AT_ONCE,
) -> Iterator[Iterable[tuple[Item, Callable[[], Result]]]]:
    """Do the same with each item, with `at_once` of them at a time, in the order given.

    Yields each with what waits for it and gives what came of it, or raises why nothing did. The writer is one of the
    movers where it `is_writer_free` meanwhile. What the caller's context says holds for all of it. When the block ends
    early, what has begun is finished and nothing else begins.
    """
    count = min(at_once, len(items))
    with ExitStack() as undo:
        movers: SimpleQueue[Mover] = SimpleQueue()
        if is_writer_free:
            movers.put(writer)
        for _ in range(movers.qsize(), count):
            movers.put(undo.enter_context(writer.beside()))

        def with_a_mover(item: Item) -> Result:
            mover = movers.get()
            try:
                return act(mover, item)
            finally:
                movers.put(mover)

        threads = undo.enter_context(ThreadPoolExecutor(max(count, 1)))
        undo.callback(threads.shutdown, cancel_futures=True)
        yield [(item, threads.submit(copy_context().run, with_a_mover, item).result) for item in items]
