"""Runs and samples as MongoDB has them now: FiftyOne keeps both in memory, while other processes change them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import fiftyone as fo
from bson import ObjectId
from fiftyone.core.odm import get_db_conn

LOOKUP = 10_000  # ids that are asked for at once


@dataclass(frozen=True)
class StoredRun:
    """The document of a brain run; ``samples_deleted`` is when samples of its dataset last were."""

    id: ObjectId
    key: str
    config: dict[str, Any]
    samples_deleted: datetime | None


def stored_run(dataset: ObjectId, key: str | None, known: ObjectId | None = None) -> StoredRun | None:
    """The run that a dataset has under a key, or under whatever key the run of an id was renamed to."""
    database = get_db_conn()
    found = database.datasets.find_one({"_id": dataset}, {"brain_methods": 1, "last_deletion_at": 1}) or {}
    ids = found.get("brain_methods") or {}
    names = [key] if key is not None and key in ids else [str(name) for name, run in ids.items() if run == known]
    run = database.runs.find_one({"_id": ids[names[0]]}, {"config": 1}) if names else None
    return StoredRun(run["_id"], names[0], run["config"], found.get("last_deletion_at")) if run else None


def save_config(dataset: fo.Dataset, run: StoredRun, config: dict[str, Any]) -> None:
    """Writes a run's config, here and for all processes."""
    get_db_conn().runs.update_one({"_id": run.id}, {"$set": {"config": config}})
    document = dataset._doc.brain_methods.get(run.key)
    if getattr(document, "id", None) == run.id:
        document.reload()


def refresh(dataset: fo.Dataset, key: str) -> None:
    """Forgets a dataset's run that this process has in memory, if another process made or deleted it."""
    run, document = stored_run(dataset._doc.id, key), dataset._doc.brain_methods.get(key)
    if (run and run.id) != getattr(document, "id", None):
        dataset._doc.reload()
        dataset._brain_cache.pop(key, None)


def users_of(table: str) -> set[ObjectId]:
    """The runs, of datasets that exist, that keep their vectors in a table."""
    database = get_db_conn()
    runs = list(database.runs.find({"config.table_name": table}, {"_dataset_id": 1}))
    there = {found["_id"] for found in database.datasets.find({}, {"_id": 1})} if runs else set()
    return {run["_id"] for run in runs if run["_dataset_id"] in there}


def tables_in_use() -> dict[str, list[str]]:
    """Table -> "dataset: key" of the runs, of datasets that exist, that keep their vectors in it."""
    database = get_db_conn()
    names = {found["_id"]: found["name"] for found in database.datasets.find({}, {"name": 1})}
    used = dict[str, list[str]]()
    for run in database.runs.find(
        {"config.table_name": {"$type": "string"}}, {"_dataset_id": 1, "key": 1, "config": 1}
    ):
        if run["_dataset_id"] in names:
            used.setdefault(run["config"]["table_name"], []).append(f"{names[run['_dataset_id']]}: {run['key']}")
    return used


def living(dataset: fo.Dataset, ids: Collection[str]) -> set[str]:
    """Those of these ids that samples of a dataset have, of whatever slice."""
    asked, samples, out = list(ids), dataset._sample_collection, set[str]()
    for start in range(0, len(asked), LOOKUP):
        part = [ObjectId(i) for i in asked[start : start + LOOKUP] if ObjectId.is_valid(i)]
        out.update(str(found["_id"]) for found in samples.find({"_id": {"$in": part}}, {"_id": 1}))
    return out


def database_identity() -> str:
    """Tells this FiftyOne database from every other."""
    found = get_db_conn().config.find_one({}, {"_id": 1})
    return str(found["_id"]) if found else ""
