"""How fast the filters are. `text_filters`: parse, filter and statistics of captions beside spaCy's `nlp.pipe` alone
with the same pipes, and beside what data-juicer's two filters do: each calls spaCy, with all its pipes, once per text.
`region_rules`: the region rules over columns, on one core.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.schema import Text
from stages.filters.language import ParseConfig, load, parse, parse_doc
from stages.filters.region import REASONS, RegionColumns, RegionFilterConfig, decide
from stages.filters.text import TextFilterConfig, drop_reason
from stages.specialists.yolox import read_classes

COLOURS = ("red", "white", "small", "wooden", "old", "striped", "green", "bright", "dirty", "huge")
VERBS = (
    "stands next to",
    "sits on",
    "lies under",
    "is leaning against",
    "moves towards",
    "hangs above",
)
PLACES = (
    "in a quiet street",
    "near the window",
    "at the beach",
    "on a sunny day",
    "",
    "in the snow",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBenchConfig:
    texts: int = 2000
    repeats: int = 5
    slow_texts: int = 300  # for the side that parses once per filter
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionBenchConfig:
    regions: int = 5_000_000
    per_image: int = 10
    repeats: int = 3
    seed: int = 0


def captions(count: int, seed: int) -> list[str]:
    """Distinct sentences of COCO's length over COCO's categories."""
    rng, nouns = np.random.default_rng(seed), read_classes("")
    made: dict[str, None] = {}
    while len(made) < count:
        a, b = rng.choice(nouns, 2, replace=False)
        words = (
            rng.choice(COLOURS),
            a,
            rng.choice(VERBS),
            rng.choice(COLOURS),
            b,
            rng.choice(PLACES),
        )
        made["A {} {} {} a {} {} {}.".format(*words).replace(" .", ".")] = None
    return list(made)


def text_filters(config: TextBenchConfig) -> dict[str, Any]:
    import spacy

    texts = captions(config.texts, config.seed)
    nlp, nlp_whole = load(ParseConfig().model), spacy.load(ParseConfig().model)
    limits = TextFilterConfig().brief

    def ours(texts: Sequence[str] = texts) -> list[str | None]:
        totals, reasons = np.zeros(6), []
        for text, found in zip(texts, parse(texts), strict=True):
            reasons.append(drop_reason(Text(granularity="brief", text=text, parse=found), limits))
            totals += (
                len(found.objects),
                len(found.attributes),
                len(found.actions),
                len(found.proper_nouns),
                found.object_complexity_mean,
                found.action_complexity_mean,
            )
        return reasons

    def pipe() -> int:
        return sum(1 for _ in nlp.pipe(texts, batch_size=ParseConfig().texts_per_batch))

    def each() -> None:
        for text in texts[: config.slow_texts]:
            for rule in (lambda p: p.object_complexity, lambda p: p.action_complexity):
                rule(parse_doc(nlp_whole(text)))

    seconds = medians({"ours": ours, "pipe": pipe, "each": each}, config.repeats)
    rate, baseline = len(texts) / seconds["ours"], len(texts) / seconds["pipe"]
    slow = config.slow_texts / seconds["each"]
    return {
        "name": "text-filters",
        "ratio": rate / baseline,
        "captions_per_second": rate,
        "baseline_captions_per_second": baseline,
        "one_call_per_filter_captions_per_second": slow,
        "one_call_per_filter_ratio": slow / baseline,
        "over_one_call_per_filter": rate / slow,
        "settings": {
            "texts": config.texts,
            "repeats": config.repeats,
            "model": ParseConfig().model,
        },
    }


def region_rules(config: RegionBenchConfig) -> dict[str, Any]:
    columns = synthetic_regions(config)
    settings = RegionFilterConfig()
    found: dict[str, int] = {}

    def ours() -> None:
        codes = decide(columns, settings)
        found.update(
            {str(reason): int(n) for reason, n in zip(REASONS, np.bincount(codes), strict=False)}
        )

    rate = config.regions / medians({"ours": ours}, config.repeats)["ours"]
    return {
        "name": "region-rules",
        "ratio": rate / 1e6,
        "regions_per_second": rate,
        "baseline_regions_per_second": 1e6,
        "decided": found,
        "settings": {
            "regions": config.regions,
            "per_image": config.per_image,
            "repeats": config.repeats,
        },
    }


def synthetic_regions(config: RegionBenchConfig) -> RegionColumns:
    """Regions of photos: a few classes an image, scores that are mostly low, and near doubles."""
    rng, count = np.random.default_rng(config.seed), config.regions
    image = np.arange(count) // config.per_image
    centre, side = rng.uniform(0, 640, (count, 2)), rng.lognormal(4.3, 0.8, (count, 2))
    doubles = rng.random(count) < 0.3
    doubles[:: config.per_image] = False
    of = np.flatnonzero(doubles)
    centre[of], side[of] = centre[of - 1] + rng.normal(0, 4, (len(of), 2)), side[of - 1]
    label = (image * 7 + rng.integers(0, 4, count)) % 80
    label[of] = label[of - 1]
    boxes = np.concatenate([centre - side / 2, centre + side / 2], 1)
    return RegionColumns(image, label, rng.beta(1, 1.5, count), np.full(count, 0.3), boxes)


def medians(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median processor seconds of each side (what else the machine does, does not count), interleaved after a
    warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.process_time()
            side()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in taken.items()}
