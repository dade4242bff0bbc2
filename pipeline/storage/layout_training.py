"""Names in the folders of `fld train` and `fld study`.

train.json, model/                  of `fld train`: the recipe, and the model
models/FINGERPRINT/                 of `fld study`: a model
scores/FINGERPRINT.json             how a model was scored, and what it answered
scenes/SEED/SHARD.tar               the rendered scenes
journal/seconds/FOLDER.json         how long the training of a model took (`layout_journal`)
"""

from __future__ import annotations

from pipeline.storage.layout import JSON_SUFFIX, MODELS

TRAIN_RECIPE = "train.json"
TRAIN_MODEL = "model"


def study_model(fingerprint: str) -> str:
    """The folder of a model that was trained by a study."""
    return f"{MODELS}/{fingerprint}"


def study_scores(fingerprint: str) -> str:
    """The scores and answers of one tested model."""
    return f"scores/{fingerprint}{JSON_SUFFIX}"


def study_scenes(seed: int) -> str:
    """The folder of rendered scenes."""
    return f"scenes/{seed}"
