"""Runs over several sources, whose images are ingested in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import list_sources
from pipeline.refinement.executor import RunExecutor
from pipeline.storage.store import Store
from tests.pipeline.release.rounds import Inline

Sources = Mapping[str, Mapping[str, object]]


def run_of(work: Path, sources: Sources, *more: str) -> RunConfig:
    words = [f"work={work}", "refine.rounds=0"]
    for name, settings in sources.items():
        words += [f"sources.{name}.{key}={value}" for key, value in settings.items()]
    return parse(compose([*words, *more]))


def ingested(run: RunConfig) -> Store:
    store = Store(run.work)
    RunExecutor(store, run, engine=Inline()).ingest(list_sources(run))
    return store
