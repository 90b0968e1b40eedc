"""A random mix of acts, each killed at a random point or moment, then run again and compared with a plain model.

    python -m killing.soak --kills 200 --seed 7

Everything random comes from the seed, but for the moment at which a timer strikes. Ends with 1, and the seed, at the
first row that is lost, doubled or made up.
"""

import argparse
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quick_server import quick_server

from killing.rows import Key, Rows, as_json, day
from killing.world import DATASETS, World, world
from killing.zygote import Kill

SERIES = (("market_data", "1min"), ("market_data", "1day"), ("news", ""))
SYMBOLS = ("AAPL", "MSFT", "BTC/USDT", "BRK.B")
MINUTES = (0, 1, 719, 1439)
WINDOW = 10
"""Days that stay hot; as in the settings of a world."""

LONGEST_SECONDS = 1.2
"""The latest moment at which a timer strikes; most acts take less."""


@dataclass(frozen=True)
class Move:
    """An act that was chosen, the rows it puts, and those that are gone afterwards."""

    act: str
    order: Mapping[str, Any]
    puts: Rows = field(default_factory=dict)
    gone: frozenset[Key] = frozenset()


class DifferenceError(Exception):
    """What everybody sees is not what was put in."""


@dataclass
class Soak:
    """The world, the model beside it, and what was counted."""

    world: World
    seed: int
    today: int = 20
    expected: dict[Key, int] = field(default_factory=dict)
    moves: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    reaches: dict[str, Counter[str]] = field(default_factory=dict)
    rows_checked: int = 0

    def __post_init__(self) -> None:
        """Begin with nothing, and roll the same dice for the same seed."""
        self.dice = random.Random(self.seed)  # noqa: S311  # the same each time is what is wanted
        self.world.begin()

    def run(self, kills: int) -> None:
        """Move rows about until so many processes were killed.

        Raises:
            DifferenceError: A row was lost, doubled or made up, or the stores disagree.
        """
        while self.kills.total() < kills:
            self.today += self.dice.random() < 1 / 5
            move = self._chosen()
            before = dict(self.expected)
            self.moves[move.act] += 1
            # Some die twice before they are done.
            while self.kills.total() < kills and self._is_killed(move):
                self._compare(move, before)
                if self.dice.random() < 3 / 4:
                    break
            ended = self.world.run(move.act, move.order)
            if ended.error or ended.signal:
                msg = f"{move.act} {dict(move.order)} failed: {ended.error or ended.signal}"
                raise DifferenceError(msg)
            self._learn(move, ended.reached)
            self.expected = {key: v for key, v in {**before, **move.puts}.items() if key not in move.gone}
            self._compare(move, self.expected)
            if self.moves.total() % 10 == 0:
                self._compare_stores()
        self._compare_stores()

    def _is_killed(self, move: Move) -> bool:
        """Let a process do the act and try to kill it. At a point that it does not reach it lives."""
        known = self.reaches.get(move.act)
        if known and self.dice.random() < 2 / 3:
            point = self.dice.choice(sorted(known))
            kill = Kill(point, self.dice.randint(1, known[point]))
        else:
            kill = Kill(after_seconds=self.dice.uniform(0.01, LONGEST_SECONDS))
        ended = self.world.run(move.act, move.order, kill)
        if ended.error:
            msg = f"{move.act} {dict(move.order)} failed: {ended.error}"
            raise DifferenceError(msg)
        if ended.was_killed and not (ended.reached and not ended.killed_at):
            self.kills[ended.killed_at or "a moment"] += 1
            return True
        self._learn(move, ended.reached)
        return False

    def _learn(self, move: Move, reached: Mapping[str, int]) -> None:
        self.reaches.setdefault(move.act, Counter()).update(
            {point: max(0, times - self.reaches[move.act][point]) for point, times in reached.items()}
            if move.act in self.reaches
            else reached
        )

    def _compare(self, move: Move, before: Rows) -> None:
        after = {key: value for key, value in {**before, **move.puts}.items() if key not in move.gone}
        wrong = self.world.differences(before, after)
        if wrong and move.gone:
            wrong = self.world.differences_between(before, after)
        if wrong:
            raise DifferenceError("\n".join([f"{move.act} {dict(move.order)}", *wrong]))
        self.rows_checked += len(after)

    def _compare_stores(self) -> None:
        if wrong := self.world.out_of_step():
            raise DifferenceError("\n".join(wrong))

    # ---------------------------------------------------------------------------------------------------- what is next

    def _chosen(self) -> Move:
        """The next act, with whatever it needs."""
        makers = {
            self._ingest: 5,
            self._backfill: 4,
            self._rotate: 4,
            self._load: 2,
            self._undo: 2,
            self._rehydrate: 2,
            self._delete: 1,
            self._compact: 1,
            self._expire: 1,
        }
        [make] = self.dice.choices(list(makers), list(makers.values()))
        return make()

    def _rows(self, dataset: str, interval: str, days: list[int]) -> dict[Key, int]:
        """A few rows of these days, new ones and restated ones."""
        found = {}
        for number in days:
            for symbol in self.dice.sample(SYMBOLS, self.dice.randint(1, 3)):
                for minute in (0,) if interval == "1day" else self.dice.sample(MINUTES, 2):
                    found[Key(dataset, interval, number, symbol, minute)] = self.dice.randrange(10**6)
        return found

    def _days(self, first: int, end: int, most: int) -> list[int]:
        days = range(max(first, 0), end)
        return sorted(self.dice.sample(days, min(len(days), self.dice.randint(1, most))))

    def _ingest(self) -> Move:
        """Live rows of these days, or late ones."""
        dataset, interval = self.dice.choice(SERIES)
        rows = self._rows(dataset, interval, self._days(self.today - self.dice.choice([2, 25]), self.today + 1, 3))
        order = {"dataset": dataset, "rows": as_json(rows), "as_of": self._as_of(), "with_a_bad_row": True}
        return Move("ingest", order, rows)

    def _backfill(self) -> Move:
        """Days that nobody had, and restatements."""
        dataset, interval = self.dice.choice(SERIES)
        rows = self._rows(dataset, interval, self._days(self.today - 30, self.today + 1, 5))
        return Move("backfill", {"dataset": dataset, "rows": as_json(rows), "as_of": self._as_of()}, rows)

    def _rotate(self) -> Move:
        return Move("rotate", {"datasets": DATASETS, "as_of": self._as_of()})

    def _load(self) -> Move:
        return Move("load", {"datasets": DATASETS, "as_of": self._as_of()})

    def _compact(self) -> Move:
        return Move("compact", {"datasets": DATASETS, "as_of": self._as_of()})

    def _expire(self) -> Move:
        """Whatever is superseded now may go."""
        return Move("expire", {"datasets": DATASETS, "as_of": "2040-01-01"})

    def _undo(self) -> Move:
        return Move("undo", self._range())

    def _rehydrate(self) -> Move:
        return Move("rehydrate", self._range())

    def _delete(self) -> Move:
        """One symbol, some days, whatever tier they are in."""
        order = {**self._range(), "symbols": [self.dice.choice(SYMBOLS)]}
        gone = {
            key
            for key in self.expected
            if key.dataset == order["dataset"]
            and key.symbol in order["symbols"]
            and order["start"] <= str(day(key.day)) < order["end"]
        }
        return Move("delete", order, gone=frozenset(gone))

    def _range(self) -> dict[str, Any]:
        first = self.dice.randrange(self.today)
        end = first + self.dice.randint(1, 4)
        return {"dataset": self.dice.choice(DATASETS), "start": str(day(first)), "end": str(day(end))}

    def _as_of(self) -> str:
        return str(day(self.today))


def main() -> None:
    """Soak as long as was asked for, and say what came of it."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="processes to kill (default: 200)")
    parser.add_argument("--seed", type=int, default=None, help="what everything random comes from (default: a new one)")
    asked = parser.parse_args()
    seed = secrets.randbelow(10**9) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)  # noqa: T201  # a program speaks
    started = time.monotonic()
    with quick_server() as url, world(url) as made:
        soak = Soak(made, seed)
        try:
            soak.run(asked.kills)
        except DifferenceError as error:
            print(f"{error}\nafter {soak.kills.total()} kills: run `make soak ARGS='--seed {seed}'` again")  # noqa: T201
            sys.exit(1)
        told = ", ".join(f"{point} {times}" for point, times in soak.kills.most_common())
        acts = ", ".join(f"{act} {times}" for act, times in sorted(soak.moves.items()))
        print(  # noqa: T201
            f"acts: {acts}\nkilled at: {told}\n"
            f"{soak.kills.total()} kills in {soak.moves.total()} acts, {time.monotonic() - started:.0f} s; "
            f"{soak.rows_checked} rows compared; rows lost: 0, doubled: 0"
        )


if __name__ == "__main__":
    main()
