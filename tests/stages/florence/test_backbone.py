"""The vision tower alone: for transformers as it is, for timm by its names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Florence2VisionConfig
from transformers.models.florence2.modeling_florence2 import Florence2VisionBackbone

from stages.florence import sizes
from stages.florence.backbone import TIMM, export, timm_difference, timm_names
from stages.florence.model import create, load, save
from stages.florence.tokenizer import make_tokenizer


def test_the_tower_loads_by_plain_from_pretrained_and_sees_the_same(tmp_path: Path) -> None:
    written = export("nano", tmp_path)
    values = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = load("nano").model.model.vision_tower(values).last_hidden_state
        loaded: Any = Florence2VisionBackbone.from_pretrained(tmp_path)
        assert torch.equal(loaded.eval()(values).last_hidden_state, expected)
    assert written["parameters"] == sum(p.numel() for p in loaded.parameters())


def test_the_published_tower_has_the_names_and_shapes_of_timm() -> None:
    """The file lists `state_dict()` of davit_base_fl of timm 1.0.22, without its head.

    With our weights, that module gives our features within 1e-5.
    """
    listed = (Path(__file__).parent / "davit_base_fl.txt").read_text().splitlines()
    with torch.device("meta"):
        tower = Florence2VisionBackbone(Florence2VisionConfig(**_vision("base")))
    ours = {}
    for name, value in timm_names(tower.state_dict()).items():
        ours[name] = "x".join(map(str, value.shape))
    assert ours == dict(line.split() for line in listed)
    assert not timm_difference(tower.config)


def test_weights_for_timm_are_written_only_where_it_computes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    result = export("nano", tmp_path / "nano")
    assert result["timm"].startswith("none: patch_stride is [4, 2, 1]")
    assert not (tmp_path / "nano" / TIMM).exists()
    nano = sizes.SHAPES["nano"]
    like_timm = replace(nano, vision={**nano.vision, "patch_stride": [4, 2, 2]})
    monkeypatch.setitem(sizes.SHAPES, "nano", like_timm)
    save(create("nano", make_tokenizer(["a dog"], 300), seed=0), tmp_path / "like")
    export(str(tmp_path / "like"), tmp_path / "out")
    written = load_file(tmp_path / "out" / TIMM)
    stem = json.loads((tmp_path / "out" / "config.json").read_text())["embed_dim"][0]
    assert written["stem.conv.weight"].shape == (stem, 3, 7, 7)
    assert "stages.2.blocks.1.channel_block.attn.qkv.weight" in written
    assert "stages.1.downsample.norm.bias" in written and not any(
        "convs" in name for name in written
    )


def _vision(size: str) -> dict[str, Any]:
    return dict(sizes.SHAPES[size].vision)
