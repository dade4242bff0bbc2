"""The licences of a release: those of its settings, and else those that the run gives its sources.

In a work folder with several sources, terms that have the name of a source are about its samples,
and a pattern (`names`) is one for SOURCE/NAME.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.run import RunConfig
from pipeline.release.config import ReleaseConfig, SourceTerms
from pipeline.storage.sources import WorkSources


def with_licences(config: ReleaseConfig, run: RunConfig, work: WorkSources) -> ReleaseConfig:
    """The settings of a release with the terms of every source.

    Raises:
        ValueError: a source has no licence.
    """
    licences = {name: source.licence for name, source in run.all_sources.items()}
    if not work.several:
        if config.sources:
            return config
        use = run.all_sources[""].use if "" in run.all_sources else "NAME"
        return replace(config, sources={use: _terms(use, licences.get("", ""))})
    sources = dict(config.sources)
    for name in work.named:
        terms = sources.get(name) or _terms(name, licences.get(name, ""))
        sources[name] = replace(terms, names=f"{name}/{terms.names}")
    return replace(config, sources=sources)


def _terms(name: str, licence: str) -> SourceTerms:
    if not licence.strip():
        raise ValueError(
            f"sources: no licence; set sources.{name}.licence to the licence of the images, such "
            "as CC-BY-4.0"
        )
    return SourceTerms(licence=licence)
