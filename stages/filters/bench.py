"""How fast the filters are.

`text_filters` measures parse, filter and statistics of captions. One baseline is spaCy's `nlp.pipe`
alone, with the same pipes; the other is what the two spaCy filters of data-juicer do: each of them
calls spaCy, with all its pipes, once for each text. `region_rules` measures the region rules over
columns, on one core.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.schema import Text
from stages.filters.language import ParseConfig, load, parse, parse_doc
from stages.filters.parser_model import package_of
from stages.filters.region import REASONS, RegionColumns, RegionFilterConfig, decide
from stages.filters.text import TextFilterConfig, drop_reason
from stages.specialists.yolox import read_classes

if TYPE_CHECKING:
    from spacy.language import Language

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
    """Captions that are parsed in a repeat."""

    repeats: int = 5
    """Repeats of each side; the median counts."""

    slow_texts: int = 300
    """Captions for the side that parses each text once per filter."""

    seed: int = 0
    """Seed of the captions."""

    def __post_init__(self) -> None:
        if self.slow_texts > self.texts:
            raise ValueError(f"slow_texts={self.slow_texts}: there are only texts={self.texts}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionBenchConfig:
    regions: int = 5_000_000
    """Regions that are decided in a repeat."""

    per_image: int = 10
    """Regions in an image."""

    repeats: int = 3
    """Repeats; the median counts."""

    seed: int = 0
    """Seed of the regions."""


def captions(count: int, seed: int) -> list[str]:
    """Distinct sentences over COCO's categories, about as long as COCO's captions."""
    rng = np.random.default_rng(seed)
    nouns = read_classes("")
    sentences: dict[str, None] = {}
    while len(sentences) < count:
        first, second = rng.choice(nouns, 2, replace=False)
        first_colour = rng.choice(COLOURS)
        verb = rng.choice(VERBS)
        second_colour = rng.choice(COLOURS)
        place = rng.choice(PLACES)
        sentence = f"A {first_colour} {first} {verb} a {second_colour} {second} {place}."
        sentences[sentence.replace(" .", ".")] = None
    return list(sentences)


def text_filters(config: TextBenchConfig) -> dict[str, object]:
    """Captions per second of our filters and of both baselines, and their ratios."""
    import spacy

    parse_config = ParseConfig()
    texts = captions(config.texts, config.seed)
    nlp = load(parse_config.model)
    nlp_with_all_pipes = spacy.load(package_of(parse_config.model))
    slow_texts = texts[: config.slow_texts]

    def pipe_alone() -> None:
        for _ in nlp.pipe(texts, batch_size=parse_config.texts_per_batch):
            pass

    sides = {
        "ours": lambda: _filter_texts(texts),
        "pipe alone": pipe_alone,
        "one call per filter": lambda: _call_per_filter(nlp_with_all_pipes, slow_texts),
    }
    seconds = medians(sides, config.repeats)
    rate = len(texts) / seconds["ours"]
    baseline = len(texts) / seconds["pipe alone"]
    slow = config.slow_texts / seconds["one call per filter"]
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
            "model": parse_config.model,
        },
    }


def _call_per_filter(nlp: Language, texts: Sequence[str]) -> None:
    """What data-juicer does: its filters for objects and for actions each call spaCy."""
    for text in texts:
        for _ in range(2):
            parse_doc(nlp(text))


def _filter_texts(texts: Sequence[str]) -> tuple[list[str | None], np.ndarray]:
    """What the engine does with texts: parse and filter them, and sum up their statistics."""
    limits = TextFilterConfig().brief
    totals = np.zeros(6)
    reasons = []
    for text, parsed in zip(texts, parse(texts), strict=True):
        brief = Text(granularity="brief", text=text, parse=parsed)
        reasons.append(drop_reason(brief, limits))
        totals += (
            len(parsed.objects),
            len(parsed.attributes),
            len(parsed.actions),
            len(parsed.proper_nouns),
            parsed.object_complexity_mean,
            parsed.action_complexity_mean,
        )
    return reasons, totals


def region_rules(config: RegionBenchConfig) -> dict[str, object]:
    """Regions per second that the rules decide, against the target of a million."""
    regions = synthetic_regions(config)
    rules = RegionFilterConfig()
    counts: dict[str, int] = {}

    def ours() -> None:
        codes = decide(regions, rules)
        for code, count in enumerate(np.bincount(codes)):
            counts[str(REASONS[code])] = int(count)

    seconds = medians({"ours": ours}, config.repeats)
    rate = config.regions / seconds["ours"]
    return {
        "name": "region-rules",
        "ratio": rate / 1e6,
        "regions_per_second": rate,
        "baseline_regions_per_second": 1e6,
        "decided": counts,
        "settings": {
            "regions": config.regions,
            "per_image": config.per_image,
            "repeats": config.repeats,
        },
    }


def synthetic_regions(config: RegionBenchConfig) -> RegionColumns:
    """Regions as in photos: few classes in an image, mostly low scores, and near duplicates."""
    rng = np.random.default_rng(config.seed)
    count = config.regions
    image = np.arange(count) // config.per_image
    centre = rng.uniform(0, 640, (count, 2))
    side = rng.lognormal(4.3, 0.8, (count, 2))
    # A duplicate is a copy of the region before it, slightly moved. The first of an image is none.
    is_duplicate = rng.random(count) < 0.3
    is_duplicate[:: config.per_image] = False
    copies = np.flatnonzero(is_duplicate)
    shift = rng.normal(0, 4, (len(copies), 2))
    centre[copies] = centre[copies - 1] + shift
    side[copies] = side[copies - 1]
    label = (image * 7 + rng.integers(0, 4, count)) % 80
    label[copies] = label[copies - 1]
    return RegionColumns(
        image=image,
        label=label,
        score=rng.beta(1, 1.5, count),
        min_score=np.full(count, 0.3),
        box=np.concatenate([centre - side / 2, centre + side / 2], axis=1),
    )


def medians(sides: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median processor seconds of each side.

    Processor time leaves out what other programs on the machine do. The sides take turns, after
    one run of each as a warm-up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.process_time()
            side()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}
