"""The processor of a saved model, as plain `transformers` loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.florence.forward import tokenise
from stages.florence.images import pixel_values
from stages.florence.model import Florence, load, save
from stages.florence.processor import save_processor
from stages.florence.tasks import TASKS
from stages.florence.tokenizer import ADDED_TOKENS, token_id

RESOLUTION = 64
IMAGE_TOKENS = 65  # 8 x 8 features and their mean
PLACE = "<loc_100><loc_200><loc_300><loc_400>"
BOX = [100, 200, 300, 400]  # of an image of 1000 x 1000 pixels
SIZE = (1000, 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of this package, saved."""
    folder = tmp_path_factory.mktemp("saved")
    save(load("nano"), folder)
    save_processor(folder, RESOLUTION)
    return folder


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def again(folder: Path) -> Florence:
    return load(str(folder))


def test_it_is_florences_own_and_the_tokens_stay_as_they_were(
    processor: Any, again: Florence
) -> None:
    assert type(processor).__name__ == "Florence2Processor"
    before = load("nano").tokenizer
    for tokenizer in (processor.tokenizer, again.tokenizer):
        assert tokenizer.get_vocab() == before.get_vocab()
        text = f"a red circle{PLACE}<od>"
        assert tokenizer(text).input_ids == before(text).input_ids
        assert set(ADDED_TOKENS) <= set(tokenizer.all_special_tokens)


@pytest.mark.parametrize(
    ("token", "given"),
    [
        ("<OD>", ""),
        ("<CAPTION>", ""),
        ("<OCR_WITH_REGION>", ""),
        ("<CAPTION_TO_PHRASE_GROUNDING>", "a red circle"),
        ("<REGION_TO_CATEGORY>", PLACE),
    ],
)
def test_inputs_are_those_of_the_training(
    token: str, given: str, processor: Any, again: Florence
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (RESOLUTION, RESOLUTION, 3), np.uint8)
    inputs = processor(images=image, text=token + given, return_tensors="pt")
    (prompt,) = tokenise(again, [TASKS[token].prompt.format(input=given)], 96)
    image_token = token_id(again.tokenizer, "<image>")
    assert inputs["input_ids"].tolist() == [[image_token] * IMAGE_TOKENS + prompt]
    assert torch.allclose(inputs["pixel_values"], pixel_values([image], RESOLUTION), atol=1e-5)


def test_the_model_takes_them_at_the_resolution_of_the_training(
    folder: Path, processor: Any
) -> None:
    from transformers import Florence2ForConditionalGeneration

    model: Any = Florence2ForConditionalGeneration.from_pretrained(folder)
    inputs = processor(
        images=[np.zeros((40, 90, 3), np.uint8)], text=["<CAPTION>"], return_tensors="pt"
    )
    assert inputs["pixel_values"].shape == (1, 3, RESOLUTION, RESOLUTION)
    with torch.inference_mode():
        answer = model.generate(**inputs, num_beams=1, max_new_tokens=4)
    assert answer.shape[0] == 1


@pytest.mark.parametrize(
    ("token", "answer", "expected"),
    [
        ("<CAPTION>", "a red circle", "a red circle"),
        ("<OD>", f"circle{PLACE}", {"bboxes": [BOX], "labels": ["circle"]}),
        ("<REGION_PROPOSAL>", PLACE, {"bboxes": [BOX], "labels": [""]}),
        (
            "<CAPTION_TO_PHRASE_GROUNDING>",
            f"the image{PLACE}a circle{PLACE}",
            {"bboxes": [BOX], "labels": ["a circle"]},
        ),
        (
            "<OCR_WITH_REGION>",
            f"STOP{PLACE}{PLACE}",
            {"quad_boxes": [[*BOX, *BOX]], "labels": ["STOP"]},
        ),
        (
            "<REGION_TO_SEGMENTATION>",
            PLACE,
            {"polygons": [[BOX]], "labels": [""]},
        ),
    ],
)
def test_answers_are_read_as_by_the_released_checkpoints(
    token: str, answer: str, expected: object, processor: Any
) -> None:
    text = f"</s><s>{answer}</s>"
    read = processor.post_process_generation(text=text, task=token, image_size=SIZE)
    assert read == {token: expected}
