"""Shapes and vocabulary layout as published; what cannot be loaded is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.florence.images import pixel_values
from stages.florence.model import create, load
from stages.florence.tasks import TASKS
from stages.florence.tokenizer import ADDED_TOKENS, make_tokenizer, token_id

BART_TOKENS = 50265


@pytest.fixture(scope="module")
def stand_in() -> PreTrainedTokenizerFast:
    """A tokenizer of the length of BART's, with the published tokens added; BART's is online."""
    from tokenizers import Tokenizer, models

    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}
    vocabulary |= {f"w{i}": i for i in range(len(vocabulary), BART_TOKENS)}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    )
    fast.add_special_tokens({"additional_special_tokens": list(ADDED_TOKENS)})
    return fast


def test_added_tokens_have_the_published_ids(stand_in: PreTrainedTokenizerFast) -> None:
    published = {
        "<od>": 50265,
        "</ocr>": 50268,
        "<loc_0>": 50269,
        "<loc_999>": 51268,
        "<cap>": 51269,
        "</seg>": 51278,
        "<sep>": 51279,
        "<region_to_desciption>": 51282,
        "<poly>": 51286,
        "<and>": 51288,
        "<image>": 51289,
    }
    assert {token: token_id(stand_in, token) for token in published} == published


@pytest.mark.parametrize(("size", "vision", "total"), [("base", 90, 232), ("large", 360, 771)])
def test_sizes_have_the_published_parameter_counts(
    stand_in: PreTrainedTokenizerFast, size: str, vision: int, total: int
) -> None:
    with torch.device("meta"):
        model = create(size, stand_in, seed=0).model
    assert millions_of_parameters(model.model.vision_tower) == pytest.approx(vision, rel=0.02)
    assert millions_of_parameters(model) == pytest.approx(total, rel=0.02)


def millions_of_parameters(module: torch.nn.Module) -> int:
    return round(sum(p.numel() for p in module.parameters()) / 1e6)


def test_nano_is_small_and_its_tokenizer_has_the_published_order() -> None:
    nano = load("nano")
    assert sum(p.numel() for p in nano.model.parameters()) < 2e6
    first = token_id(nano.tokenizer, "<od>")
    assert [token_id(nano.tokenizer, token) for token in ADDED_TOKENS] == list(
        range(first, first + 1025)
    )
    for task in TASKS.values():
        assert (
            nano.tokenizer(task.prompt).input_ids[0] == 0
            and nano.tokenizer(task.prompt).input_ids[-1] == 2
        )


def test_any_text_survives_the_nano_tokenizer() -> None:
    tokenizer = load("nano").tokenizer
    for text in ("A caf\u00e9 on 9/22/2023,\nopen  late!", "\u732b<loc_7><loc_999>dog<sep>"):
        assert tokenizer.decode(tokenizer(text).input_ids[1:-1], skip_special_tokens=False) == text


def test_same_seed_same_weights() -> None:
    tokenizer = make_tokenizer(["red ring"], 300)
    a, b, c = (create("nano", tokenizer, seed).model.lm_head.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_pixels_are_resized_without_their_ratio_and_normalised() -> None:
    values = pixel_values([np.full((50, 90, 3), 255, np.uint8)], 32)
    assert values.shape == (1, 3, 32, 32)
    assert values[0, :, 5, 5].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Florence-2 checkpoint; give a folder"):
        load(str(tmp_path))


def test_the_older_remote_code_format_is_refused(tmp_path: Path) -> None:
    config = {
        "model_type": "florence2",
        "auto_map": {"AutoConfig": "configuration_florence2.Florence2Config"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="native Florence-2 format"):
        load(str(tmp_path))


@pytest.mark.skipif(
    "FLORENCE2_CHECKPOINT" not in os.environ, reason="needs a published native checkpoint folder"
)
def test_published_prompts_have_the_published_ids() -> None:
    tokenizer = load(os.environ["FLORENCE2_CHECKPOINT"]).tokenizer
    golden = {
        "<CAPTION>": [0, 2264, 473, 5, 2274, 6190, 116, 2],
        "<OD>": [0, 574, 22486, 5, 8720, 19, 4120, 766, 11, 5, 2274, 4, 2],
        "<REGION_PROPOSAL>": [0, 574, 22486, 5, 976, 5327, 11, 5, 2274, 4, 2],
        "<OCR_WITH_REGION>": [0, 2264, 16, 5, 2788, 11, 5, 2274, 6, 19, 3806, 116, 2],
    }
    assert {token: tokenizer(TASKS[token].prompt).input_ids for token in golden} == golden
