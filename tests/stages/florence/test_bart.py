"""BART's real vocabulary: golden ids, golden strings, lengths, and a model in plain `transformers`.

Golden values are those of the tests of Florence-2 in `transformers`, and answers that the
released models gave there and on the Hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.florence.codec import strip_control, truncate_target
from stages.florence.detokenise import detokenise
from stages.florence.forward import tokenise, tokenise_targets
from stages.florence.generation import GeneratedTokens, Question
from stages.florence.grammar import LOCATION, OTHER, TEXT, token_kinds
from stages.florence.inference import FlorenceInference
from stages.florence.model import Florence, create, load, save
from stages.florence.processor import save_processor
from stages.florence.tasks import TASKS, Example
from stages.florence.tokenizer import ADDED_TOKENS, token_id
from tests.stages.florence.bart import bart_tokenizer, needs_bart

pytestmark = needs_bart

IMAGE = 51289
IMAGE_TOKENS = 577  # at 768 pixels
VOCABULARY = 51328  # the tokens, filled up to a multiple of 64
GOLDEN_IDS = {
    "<DETAILED_CAPTION>": [0, 47066, 21700, 11, 4617, 99, 16, 2343, 11, 5, 2274, 4, 2],
    "<REGION_PROPOSAL>": [0, 574, 22486, 5, 976, 5327, 11, 5, 2274, 4, 2],
    "<OD>": [0, 574, 22486, 5, 8720, 19, 4120, 766, 11, 5, 2274, 4, 2],
    "<CAPTION>": [0, 2264, 473, 5, 2274, 6190, 116, 2],
    "<OCR>": [0, 2264, 16, 5, 2788, 11, 5, 2274, 116, 2],
    "<OCR_WITH_REGION>": [0, 2264, 16, 5, 2788, 11, 5, 2274, 6, 19, 3806, 116, 2],
}
PLACE = "<loc_52><loc_332><loc_932><loc_774>"
INPUTS = {
    "<CAPTION_TO_PHRASE_GROUNDING>": "A green car parked in front of a yellow building.",
    "<REFERRING_EXPRESSION_SEGMENTATION>": "a green car",
    "<OPEN_VOCABULARY_DETECTION>": "a caf\u00e9 sign, \u732b",
}
ANSWERS = {
    "<CAPTION>": "</s><s>A green car parked in front of a yellow building.</s>",
    "<OD>": (
        "</s><s>car<loc_53><loc_333><loc_933><loc_774>door handle<loc_425><loc_503><loc_474>"
        "<loc_515>wheel<loc_709><loc_576><loc_865><loc_772><loc_150><loc_584><loc_309><loc_773>"
        "</s>"
    ),
    "<CAPTION_TO_PHRASE_GROUNDING>": (
        "</s><s><s><s>A green car<loc_54><loc_330><loc_911><loc_780>a yellow building<loc_0>"
        "<loc_8><loc_998><loc_635></s>"
    ),
    "<OPEN_VOCABULARY_DETECTION>": (
        "</s><s>wheels<loc_144><loc_570><loc_870><loc_778>wheels<loc_711><loc_573><loc_866>"
        "<loc_774></s>"
    ),
    "<REGION_TO_CATEGORY>": f"</s><s>car{PLACE}</s>",
    "<OCR_WITH_REGION>": (
        "</s><s><s><s>CUDA<loc_414><loc_100><loc_932><loc_100><loc_932><loc_229><loc_414>"
        "<loc_229></s>"
    ),
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return bart_tokenizer()


@pytest.fixture(scope="module")
def tiny(tokenizer: Any) -> Florence:
    """A small model with the real vocabulary."""
    return create("nano", tokenizer, seed=0)


def processor(tokenizer: Any, resolution: int, image_tokens: int) -> Any:
    from transformers import CLIPImageProcessorPil, Florence2Processor

    square = {"height": resolution, "width": resolution}
    images = CLIPImageProcessorPil(
        size=square,
        do_center_crop=False,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        image_seq_length=image_tokens,
    )
    return Florence2Processor(images, tokenizer)


def prompt_input(token: str) -> str:
    """What a task is asked about; '' if its prompt has no input."""
    if "{input}" not in TASKS[token].prompt:
        return ""
    return INPUTS.get(token, PLACE)


def test_published_prompts_have_the_published_ids(tokenizer: Any) -> None:
    found = {token: tokenizer(TASKS[token].prompt).input_ids for token in GOLDEN_IDS}
    assert found == GOLDEN_IDS


def test_tokens_have_the_published_ids(tokenizer: Any) -> None:
    published = {
        "<s>": 0,
        "<pad>": 1,
        "</s>": 2,
        "<unk>": 3,
        "<mask>": 50264,
        "<od>": 50265,
        "</ocr>": 50268,
        "<loc_0>": 50269,
        "<loc_999>": 51268,
        "<cap>": 51269,
        "<sep>": 51279,
        "<region_to_desciption>": 51282,
        "<and>": 51288,
        "<image>": IMAGE,
    }
    assert {token: token_id(tokenizer, token) for token in published} == published
    assert len(tokenizer) == IMAGE + 1


def test_the_grammar_takes_words_for_text_and_nothing_else(tokenizer: Any) -> None:
    kinds = token_kinds(tokenizer, VOCABULARY).tolist()
    assert {kinds[i] for i in range(4, 50264)} == {TEXT}
    assert kinds[50269:51269] == [LOCATION] * 1000
    for token in ("<s>", "<pad>", "<unk>", "<mask>", "<od>", "<image>"):
        assert kinds[token_id(tokenizer, token)] == OTHER, token
    assert set(kinds[IMAGE:]) == {OTHER}


@pytest.mark.parametrize("token", [t for t in TASKS if "COMPREHENSION" not in t and "VQA" not in t])
def test_the_released_processor_writes_our_ids_behind_the_image(
    token: str, tokenizer: Any, tiny: Florence
) -> None:
    """Two tasks have no token in the released processor."""
    given = prompt_input(token)
    inputs = processor(tokenizer, 32, IMAGE_TOKENS)(
        images=np.zeros((32, 32, 3), np.uint8), text=f"{token}{given}", return_tensors="pt"
    )
    (ours,) = tokenise(tiny, [TASKS[token].prompt.format(input=given)], 256)
    assert inputs["input_ids"].tolist() == [[IMAGE] * IMAGE_TOKENS + ours]


@pytest.mark.parametrize("token", ANSWERS)
def test_real_answers_survive_the_tokenizer_and_are_read_as_released(
    token: str, tokenizer: Any
) -> None:
    answer = ANSWERS[token]
    ids = tokenizer(answer, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == answer
    size = (1000, 1000)
    released = processor(tokenizer, 32, IMAGE_TOKENS)
    released.post_processor.parse_task_config = {
        kind: {} for kind in released.tasks_answer_post_processing_type.values()
    }
    read = released.post_process_generation(text=answer, task=token, image_size=size)[token]
    ours = TASKS[token].parse(answer, size)
    if isinstance(read, str):
        # The released processor leaves the locations in a text about a region.
        assert strip_control(answer) == read
        return
    labels = read.get("labels", read.get("bboxes_labels"))
    boxes = read.get("bboxes", read.get("quad_boxes"))
    assert [place.label for place in ours] == labels
    # It cuts the centres of bins to whole pixels.
    assert [[int(v) for v in place.points] for place in ours] == [list(map(int, b)) for b in boxes]


def test_a_word_after_a_location_is_written_without_a_space(tokenizer: Any) -> None:
    """As in the released answers: `wheel` is one token there, not that of ` wheel`."""
    ids = tokenizer("car<loc_9>door handle<loc_9>wheel", add_special_tokens=False).input_ids
    words = [tokenizer.decode([i]) for i in ids if i < 50265]
    assert words == ["car", "door", " handle", "wheel"]


def test_every_character_of_an_answer_belongs_to_a_token(tiny: Florence) -> None:
    """Also where BART splits a letter into bytes."""
    text = "a caf\u00e9 \u732b, 9/22<loc_7><loc_999>dog"
    ids = tiny.tokenizer(text).input_ids[1:]
    numbers = [0.0] * len(ids)
    read = detokenise(tiny, GeneratedTokens(ids, numbers, numbers))
    assert read.text == text
    ends = [end for _, end in read.spans]
    starts = [start for start, _ in read.spans]
    assert starts == [0, *ends[:-1]] and ends[-1] == len(text)


def test_long_prompts_and_targets_are_cut_at_the_right_places(tiny: Florence) -> None:
    caption = "A dog and a cat. " * 100
    (prompt,) = tokenise(tiny, [TASKS["<CAPTION_TO_PHRASE_GROUNDING>"].prompt + caption], 256)
    assert len(prompt) == 256 and (prompt[0], prompt[-1]) == (0, 2)
    assert IMAGE_TOKENS + len(prompt) <= 1024  # positions of the released encoder

    example = Example("<OD>", "", f"door handle{PLACE}{PLACE}car{PLACE}")
    (whole,) = tokenise_targets(tiny, [example], 99)
    assert len(whole) == 17  # three words, twelve locations, start and end
    for longest, kept in {17: 17, 16: 12, 12: 12, 11: 8, 8: 8, 7: 2}.items():
        assert len(truncate_target(whole, longest, 4, token_id(tiny.tokenizer, "<loc_0>"))) == kept


def test_prompts_leave_240_of_256_tokens_to_what_they_are_about(tiny: Florence) -> None:
    for token, task in TASKS.items():
        words = len(tiny.tokenizer(task.prompt.format(input="")).input_ids)
        assert words <= 16, token


def check_in_transformers(florence: Florence, folder: Path, resolution: int, tokens: int) -> None:
    """Save a model, load it by plain `transformers`, and compare inputs, numbers and answers."""
    from transformers import AutoProcessor, Florence2ForConditionalGeneration

    inference = FlorenceInference(florence, resolution)
    image = np.random.default_rng(0).integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
    features = inference.encode_images([image])
    prompt = TASKS["<OD>"].prompt
    (ours,) = inference.answer(
        features, [Question(0, prompt, None, max_tokens=tokens, min_tokens=tokens)]
    )
    save(florence, folder)
    save_processor(folder, resolution)

    theirs = AutoProcessor.from_pretrained(folder)
    assert type(theirs).__name__ == "Florence2Processor"
    model: Any = Florence2ForConditionalGeneration.from_pretrained(folder)
    inputs = theirs(images=image, text="<OD>", return_tensors="pt")
    assert inputs["input_ids"].tolist() == [[IMAGE] * features.shape[1] + GOLDEN_IDS["<OD>"]]
    with torch.inference_mode():
        seen = model.get_image_features(inputs["pixel_values"]).pooler_output
        answer = model.generate(
            **inputs,
            num_beams=1,
            no_repeat_ngram_size=0,
            forced_eos_token_id=None,
            min_new_tokens=tokens + 1,
            max_new_tokens=tokens + 1,
        )
    assert torch.allclose(seen, features, atol=1e-4)
    assert answer[0].tolist() == [2, 0, *ours.ids]

    again = load(str(folder))
    tokens_of = again.tokenizer.get_vocab()
    assert tokens_of == florence.tokenizer.get_vocab()
    assert [token_id(again.tokenizer, t) for t in ADDED_TOKENS] == list(range(50265, IMAGE + 1))


def test_a_small_model_gives_the_same_in_plain_transformers(tiny: Florence, tmp_path: Path) -> None:
    check_in_transformers(tiny, tmp_path, 64, 24)


@pytest.mark.slow
def test_a_model_of_the_base_size_gives_the_same_in_plain_transformers(
    tokenizer: Any, tmp_path: Path
) -> None:
    florence = create("base", tokenizer, seed=0)
    assert florence.model.lm_head.out_features == VOCABULARY
    check_in_transformers(florence, tmp_path, 768, 8)
