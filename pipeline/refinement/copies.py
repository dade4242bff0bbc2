"""What it costs that each round copies the images; `fld run` and `fld plan` say it of a large set.

`rounds.images` is what the user says, whatever the number of images. A choice by that number would
be made on a pilot run, or before a source of tars is opened, and could not be changed when images
are added: it names the rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.config.run import RunConfig
from pipeline.ingest.assignment import Names
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import SampleCounts
from pipeline.storage.store import Store
from stages import registry

LARGE_SET = 10_000
"""Images from which on the line is worth reading."""
MEASURED_SHARDS = 20


def cost_of_copies(store: Store, run: RunConfig, names: Names = MappingProxyType({})) -> list[str]:
    """A line about the copies of the images that the rounds of a large set hold, or none.

    `names` is what the sources list, for images that have not come in yet.
    """
    if run.rounds.images != "copy":
        return []
    counts = store.counts(IMAGES)
    images = sum(count.given - count.failed for count in counts.values())
    listed = 0
    for name, source in run.all_sources.items():
        # Of a source of single images each name is one.
        if not registry.load(source.use)[0].whole:
            listed += len(names.get(name, ()))
    images = max(images, listed)
    if images < LARGE_SET:
        return []
    rounds = run.refine.rounds + 1
    copies = "round 0 copies" if rounds == 1 else f"each of up to {rounds} rounds copies"
    size = _mean_size(store, counts) * images
    cost = f" (about {size / 1e9:,.1f} GB)" if size else ""
    return [
        f"rounds.images=copy: {copies} the {images:,} images{cost}; "
        "rounds.images=reference stores them once"
    ]


def _mean_size(store: Store, counts: Mapping[str, SampleCounts]) -> float:
    """Bytes of an image, from the tars of some shards; 0 if no image has come in."""
    shards = sorted(counts)
    step = max(1, len(shards) // MEASURED_SHARDS)
    size = images = 0
    for shard in shards[::step]:
        size += store.size(layout.images_tar(shard))
        images += counts[shard].given - counts[shard].failed
    return size / images if images else 0.0
