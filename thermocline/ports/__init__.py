"""The Protocols that tasks are written against. `stores/` and `sources/` implement them; `memory` implements each.

Rows travel as Arrow record batches in the schema of their dataset. Paths are relative to the lake. Nothing here knows
PostgreSQL, Parquet or Iceberg by name beyond what its docstring promises.
"""

from thermocline.ports.analytics import Analytics, Relation
from thermocline.ports.cache import Cache, CacheState, KeptAnswers, answered_from
from thermocline.ports.calendars import Calendars
from thermocline.ports.classes import Classes, Rule
from thermocline.ports.coverage import Coverage, CoverageWriter
from thermocline.ports.drops import DropFactory, DropFolder, Dropped
from thermocline.ports.hot import Hot, Snapshot
from thermocline.ports.lake import Catalog, Changes, Lake, Located, Objects, Traffic
from thermocline.ports.ledger import (
    Act,
    AuditGuard,
    AuditQuery,
    Detached,
    Holding,
    HotDay,
    HotLeaf,
    Ingested,
    Publication,
    Trouble,
    UnnamedObject,
    Vacuumed,
    came_to_hot,
    expired_act,
    gone_act,
)
from thermocline.ports.pages import KeptPages, Page, Pages, PageStore, Question, Unfinished
from thermocline.ports.plain import Mapped, MonthOfRows, PlainSurvey, PlainTable
from thermocline.ports.progress import SILENT, Progress
from thermocline.ports.quarantine import (
    Quarantine,
    Quarantined,
    QuarantineGroup,
    QuarantineQuery,
    QuarantineState,
    Verdict,
)
from thermocline.ports.sources import Answered, Fetched, FetchRequest, Paged, Source, SourceFactory
from thermocline.ports.spool import Spool, SpoolFactory
from thermocline.ports.writer import Export, Mover, Writer

__all__ = [
    "SILENT",
    "Act",
    "Analytics",
    "Answered",
    "AuditGuard",
    "AuditQuery",
    "Cache",
    "CacheState",
    "Calendars",
    "Catalog",
    "Changes",
    "Classes",
    "Coverage",
    "CoverageWriter",
    "Detached",
    "DropFactory",
    "DropFolder",
    "Dropped",
    "Export",
    "FetchRequest",
    "Fetched",
    "Holding",
    "Hot",
    "HotDay",
    "HotLeaf",
    "Ingested",
    "KeptAnswers",
    "KeptPages",
    "Lake",
    "Located",
    "Mapped",
    "MonthOfRows",
    "Mover",
    "Objects",
    "Page",
    "PageStore",
    "Paged",
    "Pages",
    "PlainSurvey",
    "PlainTable",
    "Progress",
    "Publication",
    "Quarantine",
    "QuarantineGroup",
    "QuarantineQuery",
    "QuarantineState",
    "Quarantined",
    "Question",
    "Relation",
    "Rule",
    "Snapshot",
    "Source",
    "SourceFactory",
    "Spool",
    "SpoolFactory",
    "Traffic",
    "Trouble",
    "Unfinished",
    "UnnamedObject",
    "Vacuumed",
    "Verdict",
    "Writer",
    "answered_from",
    "came_to_hot",
    "expired_act",
    "gone_act",
]
