"""Which resolutions and lengths a Florence-2 takes: the formula against the model itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.base import StageError
from stages.florence import forward
from stages.florence.limits import Limits, limits_in, limits_of
from stages.florence.model import CHECKPOINT, Florence, load

# Of microsoft/Florence-2-base: the defaults of its vision tower, and BART's positions.
BASE = limits_in("base", {"text_config": {"max_position_embeddings": 1024}})


@pytest.fixture(scope="module")
def nano() -> Florence:
    return load("nano")


@pytest.fixture(scope="module")
def limits() -> Limits:
    found = limits_of("nano")
    assert found is not None
    return found


def test_base_has_577_image_tokens_at_768_pixels() -> None:
    """Florence-2 paper, section 3: the tower shrinks by 32, and one token holds the mean."""
    assert (BASE.side(768), BASE.image_tokens(768)) == (24, 577)
    BASE.check_resolution("resolution", 768)
    BASE.check_resolution("resolution", 992)
    with pytest.raises(
        ValueError, match=r"^resolution=1024: base takes images of up to 992 pixels"
    ):
        BASE.check_resolution("resolution", 1024)


@pytest.mark.parametrize("resolution", [30, 33, 64, 100])
def test_the_number_of_image_tokens_is_the_models(
    resolution: int, nano: Florence, limits: Limits
) -> None:
    image = np.zeros((40, 50, 3), np.uint8)
    features = forward.encode_images(nano, [image], resolution)
    assert features.shape[1] == limits.image_tokens(resolution)


def test_the_model_fails_just_above_the_largest_resolution(nano: Florence, limits: Limits) -> None:
    image = np.zeros((40, 50, 3), np.uint8)
    rows = limits.rows
    largest = 4 * rows  # pixels: nano's tower shrinks by 8, but it has 50 rows
    while limits.side(largest) < rows:
        largest += 1
    while limits.side(largest + 1) <= rows:
        largest += 1
    assert forward.encode_images(nano, [image], largest).shape[1] == rows**2 + 1
    with pytest.raises(IndexError):
        forward.encode_images(nano, [image], largest + 1)


def test_a_prompt_and_an_answer_need_positions(limits: Limits) -> None:
    tokens = limits.image_tokens(64)
    limits.check_prompt("max_tokens", limits.positions - tokens, 64)
    with pytest.raises(ValueError, match=f"of which an image of 64 pixels takes {tokens}; give at"):
        limits.check_prompt("max_tokens", limits.positions - tokens + 1, 64)
    limits.check_answer("max_tokens", limits.positions - 1)
    with pytest.raises(ValueError, match=r"^max_tokens=512: the decoder of nano has 512 positions"):
        limits.check_answer("max_tokens", limits.positions)


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "own"))


def test_folders_that_are_no_florence_are_named(tmp_path: Path) -> None:
    own = copied(tmp_path)
    (own / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"own: no tokenizer: it has none of tok"):
        limits_of(str(own))
    (own / "model.safetensors").write_bytes(b"")
    with pytest.raises(StageError, match=r"model\.safetensors: no safetensors file \(0 bytes\)"):
        limits_of(str(own))
    (own / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="own: not in the native Florence-2 format"):
        limits_of(str(own))
    (own / "config.json").unlink()
    with pytest.raises(StageError, match=r"own: no checkpoint: it has no config\.json"):
        limits_of(str(own))


def test_weights_and_tokens_that_are_missing_are_told_when_it_is_loaded(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    own = copied(tmp_path)
    tensors = load_file(own / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if "image_projection" not in name}
    save_file(kept, own / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"its weights lack 1 tensors, such as .*image_projection"):
        load(str(own))


def test_a_hub_name_is_known_only_when_it_is_loaded() -> None:
    assert limits_of("florence-community/Florence-2-base") is None
