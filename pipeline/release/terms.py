"""The licences of a release: those of its settings, and else those that the run gives its sources.

In a work folder with several sources, terms that have the name of a source are about its samples,
and a pattern (`names`) is one for SOURCE/NAME.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from pipeline.config.effects import typed_names
from pipeline.config.run import RunConfig
from pipeline.config.validation import MissingSettings
from pipeline.release.config import ReleaseConfig, SourceTerms, parse
from pipeline.storage.sources import WorkSources

# What a user may type for settings that must be given.
EXAMPLES = {"name": "NAME", "version": "1.0.0"}
LICENCE = "CC-BY-4.0"


def complete(overrides: Sequence[str], run: RunConfig, work: WorkSources) -> ReleaseConfig:
    """The settings of a release from words such as `name=fld`.

    Raises:
        MissingSettings: some have no value, licences among them.
        ValueError: a word is no setting, or a value is wrong.
    """
    try:
        return parse(overrides)
    except MissingSettings as error:
        examples = {}
        for name, example in error.examples.items():
            examples[name] = EXAMPLES.get(name, LICENCE if name.endswith(".licence") else example)
        parts = [name.split(".") for name in typed_names(overrides)]
        named = [part[1] for part in parts if part[0] == "sources" and len(part) > 1]
        for source in _without_licence(named, run, work):
            examples[f"sources.{source}.licence"] = LICENCE
        raise MissingSettings(examples) from None


def with_licences(config: ReleaseConfig, run: RunConfig, work: WorkSources) -> ReleaseConfig:
    """The settings of a release with the terms of every source.

    Raises:
        ValueError: a source has no licence.
    """
    lacking = _without_licence(config.sources, run, work)
    if lacking:
        settings = " and ".join(f"sources.{name}.licence" for name in lacking)
        raise ValueError(
            f"sources: no licence; set {settings} to the licence of the images, such as {LICENCE}"
        )
    licences = {name: source.licence for name, source in run.all_sources.items()}
    sources = dict(config.sources)
    if not work.several:
        return replace(config, sources=sources or {_only(run): SourceTerms(licence=licences[""])})
    for name in work.named:
        terms = sources.get(name) or SourceTerms(licence=licences[name])
        sources[name] = replace(terms, names=f"{name}/{terms.names}")
    return replace(config, sources=sources)


def _without_licence(named: Collection[str], run: RunConfig, work: WorkSources) -> list[str]:
    """The sources that have a licence neither in the run nor among the `named` of the release."""
    licences = {name: source.licence.strip() for name, source in run.all_sources.items()}
    if not work.several:
        has_one = named or licences.get("")
        return [] if has_one else [_only(run)]
    return [name for name in work.named if name not in named and not licences.get(name)]


def _only(run: RunConfig) -> str:
    """What a release calls the only source of a run."""
    return run.all_sources[""].use if "" in run.all_sources else "NAME"
