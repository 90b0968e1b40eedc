"""Dagster assets: what exists. Each calls one task of the library and reports what it did.

Here belong what an asset is called, which config it shows, and the metadata it leaves. What a backfill or rotation does
belongs in `thermocline.tasks`; where stores are belongs in `resources`; when something runs belongs in `pipelines`.

Dagster reads annotations at run time, so that no module here says `from __future__ import annotations`.
"""
