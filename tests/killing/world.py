"""A server, a lake, states to begin from, and what everybody sees afterwards."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
from quick_server import create_database, passable_folder

import thermocline
from killing.places import Folder, Place
from killing.rows import Key, Rows, spelled, table
from killing.zygote import Ended, Kill, Zygote, zygote
from thermocline.api import Thermocline
from thermocline.errors import HotStoreError
from thermocline.model.datasets import dataset_named
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import ALL_DAYS

SETTINGS = """
hot_url: {url}
storage:
  lifecycle:
    hot_days: 10
    hot_intervals: [1min, 1day]
"""

DATASETS = ("market_data", "news")


@dataclass
class World:
    """One home with its own database. A state is a database to copy, and the objects of a lake at its place."""

    server_url: str
    folder: Path
    zygote: Zygote
    place: Place
    tc: Thermocline = field(init=False)

    def __post_init__(self) -> None:
        """Write the settings and open them; nothing connects yet."""
        self.home.mkdir()
        self.url = urlsplit(self.server_url)._replace(path=f"/{self._database}").geturl()
        (self.home / "thermocline.yaml").write_text(self.place.settings + SETTINGS.format(url=self.url))
        self.tc = thermocline.open(home=self.home)

    @property
    def home(self) -> Path:
        """Where everything lives."""
        return self.folder / "home"

    @property
    def _database(self) -> str:
        return f"{type(self.place).__name__.lower()}_{os.getpid()}"

    def begin(self, state: str = "") -> None:
        """Be in a kept state, or in the empty one."""
        self.tc.close()
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")
            create_database(connection, self._database, self._kept(state) or "template0")
        shutil.rmtree(self.home / "tmp", ignore_errors=True)
        self.place.clear(state)
        self.tc = thermocline.open(home=self.home)  # one that does not know of tables and columns that are gone

    def lose_database(self) -> None:
        """Go on with the lake alone, and a database in which nothing ever was."""
        self.tc.close()
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {self._database} WITH (FORCE)")
            create_database(connection, self._database)
        self.tc = thermocline.open(home=self.home)

    def keep(self, state: str) -> None:
        """Keep the state as it is now, under a name."""
        self.tc.close()
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            create_database(connection, self._kept(state), self._database)
        self.place.keep(state)

    def _kept(self, state: str) -> str:
        return f"{self._database}_{state}" if state else ""

    def drop(self) -> None:
        """Leave nothing on the server."""
        self.tc.close()
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            named = f"{self._database}%"
            for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (named,)):
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, act: str, order: Mapping[str, Any], kill: Kill | None = None) -> Ended:
        """Let another process do an act, and perhaps die of it."""
        return self.zygote.run(self.home, act, order, kill)

    def execute(self, statement: str, *parameters: Any) -> None:
        """Do something to the database behind everybody's back."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            connection.execute(statement, parameters)

    def copy_plain(self, wanted: Rows) -> None:
        """Put rows into a plain table of market_data."""
        found = table("market_data", wanted)
        names = ", ".join(f'"{name}"' for name in found.column_names)
        marks = ", ".join(["%s"] * found.num_columns)
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO market_data ({names}) VALUES ({marks})",
                [list(row.values()) for row in found.to_pylist()],
            )

    # ------------------------------------------------------------------------------------------------ what is seen

    def seen(self, dataset: str) -> pa.Table:
        """All rows that the router gives; those of a table that is not adopted yet, which it refuses to pass by."""
        try:
            return self.tc.query(dataset).to_arrow()
        except HotStoreError as error:
            if "adopts it without losing a row" not in str(error):
                raise
            return self._plain(dataset)

    def _plain(self, dataset: str) -> pa.Table:
        """The rows of a plain table, as whoever made it reads them."""
        schema = table(dataset, {}).schema
        names = ", ".join(f'"{name}"' for name in schema.names)
        with psycopg.connect(self.url) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            query = f"SELECT DISTINCT {names} FROM {dataset} WHERE open IS NOT NULL"
            cursor = connection.execute(query)
            return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in cursor], schema)

    def differences(self, *allowed: Rows) -> list[str]:
        """In words, how the answers of the router differ from each of the states that they may show."""
        found: list[str] = []
        for dataset in DATASETS:
            answer = spelled(self.seen(dataset))
            wrong = [different(answer, spelled(table(dataset, state))) for state in allowed]
            if all(wrong):
                found += [f"{dataset}: {each}" for each in wrong]
        return found

    def differences_between(self, most: Rows, fewest: Rows) -> list[str]:
        """In words, what is answered that is not in `most`, is missing of `fewest`, or is there twice."""
        found = []
        for dataset in DATASETS:
            answer = spelled(self.seen(dataset))
            lost = set(spelled(table(dataset, fewest))) - set(answer)
            surplus = set(answer) - set(spelled(table(dataset, most)))
            if lost or surplus or len(answer) > len(set(answer)):
                found.append(f"{dataset}: {len(lost)} rows are lost, {len(surplus)} made up, or some are doubled")
        return found

    def out_of_step(self) -> list[str]:
        """In words, where the table, the ledger and the objects disagree; empty when everything is settled."""
        found = []
        report = self.tc.verify(DATASETS)
        found += [f"{failed.partition}: {failed.reason}" for failed in report.failed] + report.table
        for name in DATASETS:
            dataset = dataset_named(name)
            live = {vintage.receipt.path for vintage in self.tc.hot.live(dataset, ALL_DAYS)}
            paths = self.tc.lake.paths(dataset)
            if paths != live:
                found.append(f"the table of {name} names {sorted(paths - live)} and lacks {sorted(live - paths)}")
            with self.tc.hot.writer(dataset) as writer:
                head = writer.head()
            if (head or "") != self.tc.lake.head(dataset):
                found.append(f"the ledger's head of {name} is {head}, the table's {self.tc.lake.head(dataset)}")
        return found

    def checksum(self) -> str:
        """One number over everything that the router gives, provenance included, whatever its order."""
        return " ".join(contents_of(dataset_named(name), self.seen(name).to_batches()).fingerprint for name in DATASETS)


def different(answer: Collection[str], expected: Collection[str]) -> str:
    """In words, how two sorted lists of rows differ; empty where they don't."""
    if answer == expected:
        return ""
    lost, surplus = list(expected), []
    for row in answer:
        if row in lost:
            lost.remove(row)
        else:
            surplus.append(row)
    return f"{len(lost)} rows are lost {lost[:2]}, {len(surplus)} doubled or made up {surplus[:2]}"


@contextmanager
def world(server_url: str, place: Place | None = None) -> Iterator[World]:
    """A world, for as long as the block lasts; nothing is left of it."""
    with passable_folder() as folder, zygote() as started:
        made = World(server_url, folder, started, place or Folder(folder / "home" / "lake", folder))
        try:
            yield made
        finally:
            made.drop()


Build = Callable[[World], dict[Key, int]]
"""What brings an empty world to a state, and says which rows everybody sees then."""
