"""Labels of one image, old and new, and the settings that the tests of the merge use."""

from dataclasses import replace
from typing import Any

from pipeline.refinement.matching import MATCHING
from pipeline.refinement.merge import merge
from pipeline.refinement.rules import Certainties, MergeConfig, PhraseRules, Rules, Thresholds
from pipeline.schema import Annotation, Annotations, Mask, Region, Text

RULES = Rules(relabel_margin=0.5, reshape=0.5, reshape_iou=0.95, min_refound=0.3)
PHRASES = PhraseRules(relabel_margin=0.5, reshape=0.5, reshape_iou=0.95, min_refound=0.3)
TEXTS = replace(MergeConfig().texts, relabel_margin=0.25)
MEASURED = Thresholds(
    refound=1.0, add=Certainties.fixed(-0.3), rename=Certainties.fixed(-1.0), drop=-2.5
)
CONFIG = MergeConfig(
    texts=TEXTS,
    regions=RULES,
    triplets=PHRASES,
    levels=dict.fromkeys(MATCHING, MEASURED),
)

HERE = (0.0, 0.0, 10.0, 10.0)
BESIDE = (2.0, 0.0, 12.0, 10.0)
BETWEEN = (1.0, 0.0, 11.0, 10.0)
"""The mean of `HERE` and `BESIDE`."""
THERE = (50.0, 50.0, 60.0, 60.0)

OLD = "0.detect.regions.0"
NEW = "1.refine.regions.0"
OTHER = "1.refine.regions.1"
MASK = Mask(size=(100, 100), counts="abc")


def old(**fields: Any) -> Region:
    """A region of a specialist: a cup."""
    known = {"id": OLD, "source": "detect", "box": HERE, "phrase": "cup", "score": 0.6}
    return Region(**{**known, **fields})


def new(**fields: Any) -> Region:
    """A region that the model found: a cup."""
    known = {"id": NEW, "source": "refine", "round": 1, "box": HERE, "phrase": "cup", "score": 0.9}
    return Region(**{**known, **fields})


def merged(*regions: Region, config: MergeConfig = CONFIG) -> dict[str, Region]:
    """The regions after the merge, by id."""
    before = Annotations(regions=list(regions))
    after = before.overlaid(merge(before, 1, config))
    return {region.id: region for region in after.regions}


def fates(*regions: Region, config: MergeConfig = CONFIG) -> dict[str, str | None]:
    """Why regions are dropped by the merge (None: they stay), by id."""
    return drop_reasons(merged(*regions, config=config).values())


def drop_reasons(annotations: Any) -> dict[str, str | None]:
    """Why annotations are dropped (None: they are not), by id."""
    reasons: dict[str, str | None] = {}
    for annotation in annotations:
        assert isinstance(annotation, Annotation)
        reasons[annotation.id] = annotation.dropped
    return reasons


def text(words: str, **fields: Any) -> Text:
    """A brief text of a specialist."""
    known = {"id": "0.caption.texts.0", "granularity": "brief", "support": -0.5}
    return Text(**{**known, "text": words, **fields})


def written(words: str, **fields: Any) -> Text:
    """A brief text that the model wrote."""
    known = {"id": "1.refine.texts.0", "round": 1, "score": 0.95, "support": -0.05}
    return text(words, **{**known, **fields})
