"""DuckDB with its extension for PostgreSQL, in a process of its own.

The extension is one file for one version of DuckDB, seldom the newest, and DuckDB would download it. `make bench`
installs both from PyPI beside the other peers; where that failed, DuckDB is left out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.prefix) / "duckdb-postgres"


class Duck:
    """A process that runs statements of DuckDB, with a PostgreSQL attached as `pg`."""

    def __init__(self, url: str) -> None:
        """Start it and attach.

        Raises:
            ImportError: The extension is not installed.
        """
        if not FOLDER.exists():
            msg = f"DuckDB's extension for PostgreSQL is not in {FOLDER}"
            raise ImportError(msg)
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | {"PYTHONPATH": str(FOLDER)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.run(f"ATTACH '{url}' AS pg (TYPE postgres)")

    def run(self, text: str) -> Any:
        """Run a statement, and fetch its rows."""
        assert self._process.stdin  # noqa: S101  # for the types
        assert self._process.stdout  # noqa: S101
        print(json.dumps(text), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline() or '{"error": "DuckDB ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["rows"]

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


def serve() -> None:
    """Run what comes on stdin, a statement a line."""
    import duckdb  # noqa: PLC0415  # that of the folder
    import duckdb_extension_postgres_scanner as extension  # noqa: PLC0415

    (path,) = Path(extension.__file__).parent.rglob("*.duckdb_extension")
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{path}'")
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"rows": connection.execute(json.loads(line)).fetchall()}
        except duckdb.Error as error:
            answer = {"error": str(error)}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    serve()
