"""Labels of one image, old and new, and the rules that the tests of the merge go by."""

from dataclasses import replace
from typing import Any

from pipeline.refinement.merge import merge
from pipeline.refinement.rules import MergeConfig, PhraseRules, Rules, Thresholds
from pipeline.schema import Annotations, Mask, Region, Text

RULES = Rules(relabel_margin=0.5, reshape=0.5, reshape_iou=0.95, min_refound=0.3)
PHRASES = PhraseRules(relabel_margin=0.5, reshape=0.5, reshape_iou=0.95, min_refound=0.3)
TEXTS = replace(MergeConfig().texts, relabel_margin=0.25)
MEASURED = Thresholds(refound=1.0, add=-0.3, rename=-1.0, drop=-2.5)
CONFIG = MergeConfig(
    texts=TEXTS,
    regions=RULES,
    triplets=PHRASES,
    levels=dict.fromkeys(("texts", "regions", "text_regions", "triplets"), MEASURED),
)
HERE, BESIDE, THERE = (0.0, 0.0, 10.0, 10.0), (2.0, 0.0, 12.0, 10.0), (50.0, 50.0, 60.0, 60.0)
OLD, NEW, OTHER = "0.detect.regions.0", "1.refine.regions.0", "1.refine.regions.1"
MASK = Mask(size=(100, 100), counts="abc")


def old(**fields: Any) -> Region:
    return Region(
        **{"id": OLD, "source": "detect", "box": HERE, "phrase": "cup", "score": 0.6, **fields}
    )


def new(**fields: Any) -> Region:
    known = {"id": NEW, "source": "refine", "round": 1, "box": HERE, "phrase": "cup", "score": 0.9}
    return Region(**{**known, **fields})


def other(**fields: Any) -> Region:
    """What the model would call the old one."""
    return new(
        **{"id": OTHER, "phrase": "mug", "parents": [OLD], "score": 0.8, "support": -0.2, **fields}
    )


def merged(*regions: Region, config: MergeConfig = CONFIG) -> dict[str, Region]:
    given = Annotations(regions=list(regions))
    return {r.id: r for r in given.overlaid(merge(given, 1, config)).regions}


def text(words: str, **fields: Any) -> Text:
    return Text(
        **{
            "id": "0.caption.texts.0",
            "granularity": "brief",
            "text": words,
            "support": -0.5,
            **fields,
        }
    )


def written(words: str, **fields: Any) -> Text:
    return text(
        words, **{"id": "1.refine.texts.0", "round": 1, "score": 0.95, "support": -0.05, **fields}
    )
