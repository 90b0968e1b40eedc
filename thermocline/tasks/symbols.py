"""Which symbols are meant: those of a list, of a file, or of a dataset."""

from collections.abc import Sequence
from pathlib import Path

from thermocline.errors import UsageError
from thermocline.model.datasets import dataset_named
from thermocline.model.query import Query
from thermocline.ports import Hot, Lake
from thermocline.tasks.query import query

_HEADERS = {"symbol", "ticker"}


def chosen_symbols(
    hot: Hot, lake: Lake, listed: Sequence[str] = (), file: str | None = None, dataset: str | None = None
) -> frozenset[str]:
    """The symbols of all three together; none means that none was asked for by name, so all that a source has.

    In a file each line has a symbol; what follows a comma or `#` is passed over, as is a first line that says `symbol`.

    Raises:
        UsageError: The file can't be read or names none, or the dataset has none.
    """
    found = set(listed)
    if file:
        found |= _of_file(Path(file))
    if dataset:
        found |= _of_dataset(hot, lake, dataset)
    return frozenset(found)


def _of_file(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the symbols in {path} can't be read: {error}; nothing was fetched"
        raise UsageError(msg) from None
    names = [line.split("#")[0].split(",")[0].strip() for line in lines]
    if names and names[0].lower() in _HEADERS:
        names = names[1:]
    if symbols := {name for name in names if name}:
        return symbols
    msg = f"{path} names no symbol; nothing was fetched. Write one on each line"
    raise UsageError(msg)


def _of_dataset(hot: Hot, lake: Lake, name: str) -> set[str]:
    import pyarrow.compute as pc  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    dataset = dataset_named(name)
    symbols: set[str] = set()
    with query(hot, lake, Query(dataset, columns=(dataset.symbol_column,))) as reader:
        for batch in reader:
            symbols.update(pc.unique(batch.column(0)).to_pylist())
    if symbols - {""}:
        return symbols - {""}
    msg = f"the dataset {name} has no symbols yet; nothing was fetched. Backfill it first, or list the symbols"
    raise UsageError(msg)
