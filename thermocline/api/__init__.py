"""The verbs of Thermocline in Python; the `thermocline` command is a thin twin of this.

```python
import thermocline

with thermocline.open() as tc:
    tc.backfill("market_data", source="sample", start="2012-01-01", end="2013-03-01")
    tc.load_hot(as_of="2013-02-15")
    tc.rotate(as_of="2013-02-25")
    bars = tc.query("market_data", symbols=["AAPL"], interval="1day", start="2013-01-01").to_arrow()
```

Days are `date` or ISO text, instants `datetime` or ISO text (without an offset: UTC); `start` is inclusive, `end`
exclusive.
"""

from pathlib import Path

from thermocline.api.aggregating import Aggregating
from thermocline.api.asking import Asking
from thermocline.api.bucket_rules import BucketRuleKeeping
from thermocline.api.checking import Checking
from thermocline.api.deriving import Deriving
from thermocline.api.fetching import Fetching
from thermocline.api.keeping import Keeping
from thermocline.api.kept import CacheKeeping
from thermocline.api.lake import LakeKeeping
from thermocline.api.opened import TIERS, Storage, new_run_id
from thermocline.api.quarantine import Quarantining
from thermocline.api.recovering import Recovering
from thermocline.api.restoring import ArchiveKeeping
from thermocline.api.schemas import Schemas
from thermocline.api.storage import Programs
from thermocline.api.tiering import TierKeeping
from thermocline.api.vintages import Vintages
from thermocline.errors import UsageError
from thermocline.settings import Settings, load_settings

__all__ = ["Storage", "Thermocline", "new_run_id", "open"]


def open(  # noqa: A001  # `thermocline.open()` reads as what it does
    *,
    home: Path | str | None = None,
    config: Path | str | None = None,
    storage: Storage = "hybrid",
    settings: Settings | None = None,
    cache: bool = True,
) -> "Thermocline":
    """Open Thermocline with the settings of a home; nothing connects before it is needed.

    Args:
        home: Where everything lives that is not set otherwise; `THERMOCLINE_HOME`, else `.thermocline`.
        config: A `thermocline.yaml`.
        storage: What `save`, `load`, `exists`, `delete` and `get_date_range` speak of: both tiers, or one alone.
        settings: Settings made elsewhere, instead of `home` and `config`.
        cache: Whether answers of the lake are kept and given again, as the settings say; else all is read anew.

    Raises:
        SettingsError: A setting is wrong.
    """
    from thermocline.stores.home import open_stores  # noqa: PLC0415  # a second of imports that `--help` need not pay

    if storage not in TIERS:
        msg = f"storage is one of {', '.join(TIERS)}, not {storage!r}"
        raise UsageError(msg)
    if settings is None:
        settings = load_settings(Path(home) if home else None, Path(config) if config else None)
    stores = open_stores(settings, cache=cache)
    return Thermocline(
        settings,
        hot=stores.hot,
        lake=stores.lake,
        spools=stores.spools,
        analytics=stores.analytics,
        storage=storage,
    )


class Thermocline(
    Fetching,
    Deriving,
    Keeping,
    LakeKeeping,
    TierKeeping,
    BucketRuleKeeping,
    ArchiveKeeping,
    Asking,
    Aggregating,
    CacheKeeping,
    Checking,
    Vintages,
    Quarantining,
    Schemas,
    Recovering,
    Programs,
):
    """Both tiers, and what moves rows between them. Use it as a context manager, or call `close`."""
