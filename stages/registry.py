"""Every stage and source, by the name that a config's `use` gives it.

Values are "module:name" and are imported when they are needed. Other packages add theirs by the
entry point group `fld.stages`. `stages/README.md` says what each of them does.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import Any, get_type_hints

SOURCES = {
    "folder": "stages.sources.folder:FolderSource",
    "webdataset": "stages.sources.webdataset:WebDatasetSource",
    "img2dataset": "stages.sources.img2dataset:Img2DatasetSource",
    "parquet": "stages.sources.parquet:ParquetSource",
    "coco": "stages.sources.coco:CocoSource",
    "cvat": "stages.sources.cvat:CvatSource",
    "labelstudio": "stages.sources.labelstudio:LabelStudioSource",
    "open_images": "stages.sources.open_images:OpenImagesSource",
    "yolo": "stages.sources.yolo:YoloSource",
    "class_folders": "stages.sources.class_folders:ClassFoldersSource",
    "scenes": "stages.embedded.source:ScenesSource",
}

STAGES = {
    "contours": "stages.embedded.detect:Contours",
    "compose_caption": "stages.embedded.caption:ComposeCaption",
    "template_describe": "stages.embedded.describe:TemplateDescribe",
    "appearance_score": "stages.embedded.score:AppearanceScore",
    "match_ground": "stages.embedded.ground:MatchGround",
    "grabcut": "stages.embedded.segment:GrabCut",
    "noisy_truth": "stages.embedded.noise:NoisyTruth",
    "yolox": "stages.specialists.yolox:Yolox",
    "rapidocr": "stages.specialists.ocr:RapidOcr",
    "region_text": "stages.specialists.region_text:RegionText",
    "pretrained_caption": "stages.specialists.caption:PretrainedCaption",
    "endpoint_describe": "stages.specialists.describe_endpoint:EndpointDescribe",
    "chat_describe": "stages.specialists.describe_chat:ChatDescribe",
    "detr": "stages.specialists.detr:Detr",
    "fuse": "stages.specialists.fuse:Fuse",
    "image_text_score": "stages.specialists.score:ImageTextScore",
    "alt_text_score": "stages.specialists.alt_text_score:AltTextScore",
    "open_nsfw": "stages.specialists.nudity:OpenNsfw",
    "faces": "stages.specialists.faces:Faces",
    "grounding_dino": "stages.specialists.ground:GroundingDino",
    "sam": "stages.specialists.segment:Sam",
    "parse": "stages.filters.language:ParseTexts",
    "text_filter": "stages.filters.text:TextFilter",
    "text_score_filter": "stages.filters.text_score:TextScoreFilter",
    "region_filter": "stages.filters.region:RegionFilter",
    "triplet_filter": "stages.filters.triplet:TripletFilter",
    "florence": "stages.florence.refine:Refine",
    "merge": "pipeline.refinement.merge:Merge",
}
ADDED_BY_LOOP = {
    "witness": "stages.florence.witness:Witness",
}
"""Stages that no config names: the loop adds them to a round with settings of other stages."""

# `fld bench`: functions of a typed config.
BENCHES = {
    "decisions": "pipeline.benches.decisions:decisions",
    "driver": "pipeline.benches.driver:driver",
    "florence-inference": "stages.florence.bench_inference:inference",
    "florence-training": "stages.florence.bench_training:training",
    "gate": "pipeline.benches.gate:gate",
    "harm": "pipeline.benches.harm:harm",
    "memory": "pipeline.benches.driver:memory",
    "pipeline": "pipeline.benches.engine_loop:pipeline",
    "planning": "pipeline.benches.driver:planning",
    "refinement": "pipeline.benches.refinement:refinement",
    "bootstrapping": "pipeline.benches.refinement:bootstrapping",
    "region-rules": "stages.filters.bench:region_rules",
    "systematic": "pipeline.benches.systematic:systematic",
    "shards": "pipeline.benches.shards:shards",
    "text-filters": "stages.filters.bench:text_filters",
}
# What the driver adds up (`pipeline.execution.summaries`).
ROUND_SUMMARY = "pipeline.refinement.round_summary:RoundSummary"
JUDGEMENTS = "pipeline.refinement.judgements:JudgementsSummary"
PEOPLE = "pipeline.refinement.people:PeopleSummary"
# `fld bench systematic`.
MISTAKES_LEFT = "stages.embedded.mistakes_left:mistakes_left"
# `fld parse`.
PARSE = "stages.filters.language:parse"
# `fld study`.
EXAMINE = "stages.florence.examine:Examine"
DETECTOR = "stages.florence.detector:Detector"
# `fld export-backbone`.
EXPORT_BACKBONE = "stages.florence.backbone:export"


@cache
def load(use: str) -> tuple[Any, Any]:
    """(class, dataclass of its settings) of a stage or source.

    Raises:
        ValueError: no stage or source has this name.
    """
    targets = {**SOURCES, **STAGES, **ADDED_BY_LOOP}
    for point in entry_points(group="fld.stages"):
        targets[point.name] = point.value
    if use not in targets:
        near = difflib.get_close_matches(use, targets, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(targets))}"
        raise ValueError(f"use={use}: no such stage; {hint}")
    cls = resolve(targets[use])
    return cls, config_of(cls)


def config_of(cls: Any) -> Any:
    """The dataclass of a stage's settings: the type of `config` in its `__init__`."""
    return get_type_hints(cls.__init__)["config"]


def resolve(target: str) -> Any:
    """The object that "module:name" names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
