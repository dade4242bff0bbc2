"""Models are checked before a run: the message begins with the setting to change."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.compose import compose
from pipeline.config.models import check_models
from pipeline.config.parse import parse
from tests.stages.specialists.test_yolox import ROWS, constant_onnx

PHOTOS = ["experiment=photos", "source.path=x"]


def message(*overrides: str) -> str:
    run = parse(compose(list(overrides)))
    with pytest.raises(ValueError) as raised:
        check_models(run)
    return str(raised.value)


@pytest.mark.parametrize(
    ("override", "begins"),
    [
        ("refine.annotate.resolution=768", "refine.annotate.resolution=768: nano takes images of "),
        ("train.stages=[[64,9],[384,9]]", "train.stages=384: nano takes images of up to "),
        ("refine.annotate.max_tokens=448", "refine.annotate.max_tokens=448: the encoder of nano "),
        ("train.max_target_tokens=512", "train.max_target_tokens=512: the decoder of nano has 512"),
        ("train.max_prompt_tokens=500", "train.max_prompt_tokens=500: the encoder of nano has 512"),
        (
            "refine.sparse={texts: [detailed], stages: [[512, 9]]}",
            "refine.sparse.stages=512: nano takes images of up to ",
        ),
    ],
)
def test_a_setting_that_the_round_s_model_does_not_take_is_named(
    override: str, begins: str
) -> None:
    assert message(override).startswith(begins)


def test_the_shipped_recipes_pass() -> None:
    check_models(parse(compose([])))
    check_models(parse(compose(["experiment=refinement"])))


def test_without_rounds_no_model_of_the_rounds_is_looked_at() -> None:
    check_models(parse(compose(["refine.rounds=0", "refine.annotate.resolution=768"])))


def test_a_folder_of_another_model_is_named_for_every_stage(tmp_path: Path) -> None:
    bert = {"model_type": "bert", "architectures": ["BertModel"]}
    (tmp_path / "config.json").write_text(json.dumps(bert))
    stages = {
        "detr": "a detector with fixed classes, such as RT-DETR",
        "grounding_dino": "a Grounding DINO or MM-Grounding-DINO",
        "sam": "a SAM, SAM-HQ or SAM 2",
        "image_text_score": "a two-tower model such as SigLIP or CLIP",
        "alt_text_score": "a two-tower model such as SigLIP or CLIP",
        "pretrained_caption": "a captioner such as Florence-2 or BLIP-2",
        "region_text": "a captioner such as Florence-2 or BLIP-2",
        "chat_describe": "a captioner such as Florence-2 or BLIP-2",
    }
    for use, needed in stages.items():
        after = "after: [parse, score]"
        other = f"specialists.other={{use: {use}, {after}, model: {tmp_path}}}"
        expected = f"specialists.other: {tmp_path}: it is BertModel, this stage needs {needed}"
        assert message(other) == expected
    assert message(f"refine.start={tmp_path}").startswith(
        f"refine.start={tmp_path}: {tmp_path}: not in the native Florence-2 format"
    )


def test_a_detector_with_other_classes_than_names_is_named(tmp_path: Path) -> None:
    weights = constant_onnx(tmp_path / "m.onnx", np.zeros((1, ROWS, 85)))
    (tmp_path / "two.txt").write_text("dog\ncat\n")
    found = message(
        *PHOTOS,
        f"specialists.detect.weights={weights}",
        f"specialists.detect.classes={tmp_path}/two.txt",
    )
    assert found.startswith(
        f"specialists.detect.weights={weights}: the model has 80 classes, but there are 2 class "
    )
