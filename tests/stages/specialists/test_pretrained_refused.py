"""Checkpoints, settings and machines that an adapter cannot use are refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.base import StageError
from stages.specialists.caption import CaptionerConfig, PretrainedCaption
from stages.specialists.describe_chat import ChatDescribe, ChatDescribeConfig
from stages.specialists.detr import Detr, DetrConfig
from stages.specialists.ground import GroundingDino, GroundingDinoConfig
from stages.specialists.region_text import RegionText, RegionTextConfig
from stages.specialists.score import ImageTextScore, ImageTextScoreConfig
from stages.specialists.segment import Sam, SamConfig
from tests.stages.specialists.samples_of_sizes import Checkpoint


def test_a_missing_model_is_named_with_the_reason() -> None:
    with pytest.raises(StageError, match="no model given: set `model`"):
        Detr(DetrConfig())
    with pytest.raises(
        StageError, match=r"model 'no/where' at revision 'main': no such folder.*set `revision`"
    ):
        Detr(DetrConfig(model="no/where", revision="main"))
    with pytest.raises(StageError, match=rf"model 'no/where' at revision '{'a' * 40}'"):
        Detr(DetrConfig(model="no/where", revision="a" * 40))


@pytest.mark.parametrize(
    ("name", "stage", "config", "needed"),
    [
        ("rt_detr", ImageTextScore, ImageTextScoreConfig, "a two-tower model such as SigLIP"),
        ("rt_detr", Sam, SamConfig, "a SAM, SAM-HQ or SAM 2"),
        ("clip", Detr, DetrConfig, "a detector with fixed classes, such as RT-DETR"),
        ("grounding_dino", Detr, DetrConfig, "a detector with fixed classes"),
        ("rt_detr", GroundingDino, GroundingDinoConfig, "a Grounding DINO or MM-Grounding-DINO"),
        ("rt_detr", PretrainedCaption, CaptionerConfig, "a captioner such as Florence-2"),
        ("blip", ChatDescribe, ChatDescribeConfig, "a chat model with a chat template"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(
    name: str, stage: Any, config: Any, needed: str, checkpoint: Checkpoint
) -> None:
    for look in (stage, stage.check):
        with pytest.raises(StageError, match=f"it is [A-Z].*, this stage needs {needed}") as raised:
            look(config(model=checkpoint(name)))
        assert "\n" not in str(raised.value)


def test_broken_weights_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("clip"), tmp_path / "broken")
    config = ImageTextScoreConfig(model=str(folder))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(StageError, match=r"broken/model\.safetensors: no safetensors file \(10 b"):
        ImageTextScore.check(config)
    (folder / "model.safetensors").write_bytes(whole[:-100])
    expected = f"it has {len(whole) - 100:,} bytes, not {len(whole):,}; fetch it again"
    with pytest.raises(StageError, match=expected):
        ImageTextScore.check(config)
    (folder / "model.safetensors").unlink()
    with pytest.raises(StageError, match=r"broken: no model\.safetensors, there are no other wei"):
        ImageTextScore.check(config)


def test_weights_that_lack_tensors_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """The library would fill the detector's head with random numbers."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(checkpoint("rt_detr"), tmp_path / "headless")
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if "class_embed" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match=r"its weights lack \d+ tensors of a RTDetr.*class_embed"):
        Detr(DetrConfig(model=str(folder)))


@pytest.mark.parametrize(
    ("name", "stage", "config", "missing", "what"),
    [
        ("clip", ImageTextScore, ImageTextScoreConfig, "tokenizer.json", "no tokenizer"),
        ("grounding_dino", GroundingDino, GroundingDinoConfig, "tokenizer.json", "no tokenizer"),
        ("rt_detr", Detr, DetrConfig, "preprocessor_config.json", "no image processor"),
        ("rt_detr", Detr, DetrConfig, "config.json", "no checkpoint: it has no config.json"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(
    name: str,
    stage: Any,
    config: Any,
    missing: str,
    what: str,
    checkpoint: Checkpoint,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(checkpoint(name), tmp_path / "less")
    (folder / missing).unlink()
    for look in (stage, stage.check):
        with pytest.raises(StageError, match=f"less: {what}"):
            look(config(model=str(folder)))


def test_a_processor_for_another_image_size_is_told_when_the_model_is_loaded(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint("siglip"), tmp_path / "wide")
    file = folder / "preprocessor_config.json"
    values = json.loads(file.read_text())
    values["size"] = {"height": 48, "width": 48}
    file.write_text(json.dumps(values))
    with pytest.raises(
        StageError, match=r"wide' at revision .*it fails on a grey image .*do not fit each other"
    ):
        ImageTextScore(ImageTextScoreConfig(model=str(folder)))


def test_a_caption_that_is_longer_than_the_models_positions_is_refused(
    checkpoint: Checkpoint,
) -> None:
    with pytest.raises(StageError, match=r"max_tokens=99999: the model has \d+ positions"):
        PretrainedCaption.check(CaptionerConfig(model=checkpoint("florence2"), max_tokens=99999))


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_gpu_that_is_not_there_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(StageError, match="device=cuda: this process sees no GPU; set device to"):
        Detr(DetrConfig(model=checkpoint("rt_detr"), device="cuda"))


def test_a_language_model_that_is_not_installed_is_refused_before_any_sample() -> None:
    with pytest.raises((ValueError, StageError), match="spaCy model 'xx_none' is not installed"):
        RegionText(RegionTextConfig(language_model="xx_none"))
