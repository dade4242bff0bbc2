"""Inference against `transformers`: tokens of `generate`, log-probabilities of a forward pass."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from stages.embedded.scenes import PRETRAIN, render
from stages.florence import grammar
from stages.florence.detokenise import detokenise
from stages.florence.generation import GeneratedTokens, Question
from stages.florence.images import pixel_values
from stages.florence.inference import FlorenceInference, GivenAnswer
from stages.florence.model import Florence, load
from stages.florence.tasks import TASKS, AnswerKind
from stages.florence.tokenizer import EOS
from stages.florence.vision import vision_features

RESOLUTION = 64
IMAGES = [render(PRETRAIN, 5, i).image for i in range(4)]
PROMPTS = [
    TASKS[t].prompt for t in ("<CAPTION>", "<OD>", "<DENSE_REGION_CAPTION>", "<REGION_PROPOSAL>")
]


@pytest.fixture(scope="module")
def florence() -> Florence:
    torch.set_num_threads(1)
    return load("nano")


@pytest.fixture(scope="module")
def inference(florence: Florence) -> FlorenceInference:
    return FlorenceInference(florence, RESOLUTION, rows=7)


def generated(
    florence: Florence,
    image: np.ndarray,
    prompt: str,
    tokens: int,
    beams: int = 1,
    no_repeat: int = 0,
) -> list[int]:
    """What `generate` gives for one row alone, after the start token and `<s>`; no forced end."""
    features = florence.model.get_image_features(pixel_values([image], RESOLUTION)).pooler_output
    ids = [florence.model.config.image_token_id] * features.shape[1] + florence.tokenizer(
        prompt
    ).input_ids
    output = florence.model.generate(
        input_ids=torch.tensor([ids]),
        pixel_values=pixel_values([image], RESOLUTION),
        num_beams=beams,
        early_stopping=beams > 1,
        do_sample=False,
        no_repeat_ngram_size=no_repeat,
        max_new_tokens=tokens + 1,
        forced_eos_token_id=None,
    )
    return output[0, 2:].tolist()


def test_greedy_answers_equal_generate_token_for_token(
    florence: Florence, inference: FlorenceInference
) -> None:
    questions = [Question(i, prompt, None, 48) for prompt in PROMPTS for i in range(len(IMAGES))]
    answers = inference.answer(inference.encode_images(IMAGES), questions)
    for question, answer in zip(questions, answers, strict=True):
        assert answer.ids == generated(florence, IMAGES[question.image], question.prompt, 48)


def test_three_beams_equal_those_of_generate(florence: Florence) -> None:
    inference = FlorenceInference(florence, RESOLUTION, rows=5, beams=3)
    questions = [
        Question(i, prompt, None, 24) for prompt in PROMPTS[:3] for i in range(len(IMAGES))
    ]
    answers = inference.answer(inference.encode_images(IMAGES), questions)
    for question, answer in zip(questions, answers, strict=True):
        expected = generated(florence, IMAGES[question.image], question.prompt, 24, beams=3)
        assert answer.ids == expected[: expected.index(EOS) + 1 if EOS in expected else None]


def test_log_probabilities_of_an_answer_equal_those_of_forcing_it(
    florence: Florence, inference: FlorenceInference
) -> None:
    features = inference.encode_images(IMAGES)
    (answer,) = inference.answer(features, [Question(2, PROMPTS[0])])
    text = detokenise(florence, answer).text
    (forced,) = inference.score_answers(features, [GivenAnswer(2, PROMPTS[0], text)])
    # The tokenizer may split the text in another way than the model wrote it.
    if forced.ids == answer.ids:
        assert forced.log_probs == pytest.approx(answer.log_probs, abs=1e-4)
        assert forced.beliefs == pytest.approx(answer.beliefs, abs=1e-4)


def test_forced_log_probabilities_equal_the_forward_pass_of_transformers(
    florence: Florence, inference: FlorenceInference
) -> None:
    target = "red<loc_10><loc_20><loc_300><loc_999>"
    (mine,) = inference.score_answers(
        inference.encode_images(IMAGES[:1]), [GivenAnswer(0, PROMPTS[1], target)]
    )
    features = florence.model.get_image_features(pixel_values(IMAGES[:1], RESOLUTION)).pooler_output
    prompt = florence.tokenizer(PROMPTS[1]).input_ids
    labels = torch.tensor([florence.tokenizer(target).input_ids])
    with torch.no_grad():
        logits = florence.model(
            input_ids=torch.tensor(
                [[florence.model.config.image_token_id] * features.shape[1] + prompt]
            ),
            pixel_values=pixel_values(IMAGES[:1], RESOLUTION),
            labels=labels,
        ).logits
    expected = logits.log_softmax(-1)[0].gather(1, labels[0][:, None])[1:, 0]
    assert mine.log_probs == pytest.approx(expected.tolist(), abs=1e-4)
    assert all(b >= p - 1e-6 for b, p in zip(mine.beliefs, mine.log_probs, strict=True))


def test_a_row_does_not_depend_on_its_neighbours(florence: Florence) -> None:
    alone, crowded = (
        FlorenceInference(florence, RESOLUTION, rows=1),
        FlorenceInference(florence, RESOLUTION, rows=64),
    )
    questions = [Question(i, p, "boxes", 40) for i in range(2) for p in PROMPTS]
    a, b = (e.answer(e.encode_images(IMAGES[:2]), questions) for e in (alone, crowded))
    assert [t.ids for t in a] == [t.ids for t in b]


def test_the_vision_tower_runs_once_per_image(
    florence: Florence, inference: FlorenceInference
) -> None:
    seen = []
    projector = florence.model.model.multi_modal_projector
    handle = projector.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))
    features = inference.encode_images(IMAGES)
    rows = list(product(range(4), PROMPTS))
    inference.answer(features, [Question(i, prompt, None, 4) for i, prompt in rows])
    inference.score_answers(features, [GivenAnswer(i, prompt, "a ring") for i, prompt in rows])
    handle.remove()
    assert sum(seen) == len(IMAGES)


def test_ruled_answers_have_whole_boxes_and_labels(
    florence: Florence, inference: FlorenceInference
) -> None:
    features = inference.encode_images(IMAGES)
    kinds = inference.scorer.kinds
    groups: dict[AnswerKind, int] = {"boxes": 4, "quads": 8, "proposals": 4}
    for answer, group in groups.items():
        found = inference.answer(
            features, [Question(i, p, answer, 60) for i in range(4) for p in PROMPTS]
        )
        for tokens in (t.ids for t in found):
            runs, last = [0], grammar.END
            for kind in kinds[torch.tensor(tokens)].tolist():
                if kind == grammar.LOCATION:
                    runs[-1] += 1
                elif last == grammar.LOCATION:
                    runs.append(0)
                assert kind in (grammar.TEXT, grammar.LOCATION, grammar.END)
                assert not (answer == "proposals" and kind == grammar.TEXT)
                last = kind
            finished = runs if tokens[-1] == 2 else runs[:-1]
            assert all(run % group == 0 for run in finished)


def test_a_region_answer_is_one_label_and_one_box(
    florence: Florence, inference: FlorenceInference
) -> None:
    prompt = TASKS["<REGION_TO_CATEGORY>"].prompt.format(
        input="<loc_100><loc_100><loc_500><loc_500>"
    )
    (answer,) = inference.answer(
        inference.encode_images(IMAGES[:1]), [Question(0, prompt, "region_text", 64)]
    )
    kinds = inference.scorer.kinds[torch.tensor(answer.ids)].tolist()
    if kinds[-1] == grammar.END:
        assert kinds[-5:] == [grammar.LOCATION] * 4 + [grammar.END]
        assert set(kinds[:-5]) == {grammar.TEXT}


def test_reading_gives_every_token_its_characters_even_inside_a_letter(florence: Florence) -> None:
    text = "caf\u00e9<loc_7>"
    ids = florence.tokenizer(text).input_ids[1:]
    reading = detokenise(
        florence, GeneratedTokens(ids, [0.0] * len(ids), [float(-i) for i in range(len(ids))])
    )
    assert reading.text == text
    assert reading.spans[-2] == (4, 11) and reading.spans[-1] == (11, 11)
    assert reading.mean_belief([(4, 11)]) == -float(len(ids) - 2)
    assert reading.mean_belief() == -sum(range(len(ids) - 1)) / (
        len(ids) - 1
    )  # without the end token


def test_the_vision_tower_in_place_gives_the_numbers_of_the_model(florence: Florence) -> None:
    for side in (64, 200):  # whole windows, and some that are filled up
        values = pixel_values(IMAGES, side)
        tower = florence.model.model.vision_tower
        with torch.inference_mode():
            expected = tower(values).last_hidden_state
            assert torch.allclose(vision_features(tower, values), expected, atol=1e-4)


def test_no_n_gram_comes_twice_where_that_is_asked_for_as_in_generate(florence: Florence) -> None:
    questions = [
        Question(i, prompt, None, 48, no_repeat=2) for prompt in PROMPTS[1:] for i in range(2)
    ]
    one, three = (FlorenceInference(florence, RESOLUTION, beams=beams) for beams in (1, 3))
    features = one.encode_images(IMAGES)
    answers = one.answer(features, questions)
    free = one.answer(features, [replace(question, no_repeat=0) for question in questions])
    assert any(a.ids != b.ids for a, b in zip(answers, free, strict=True))
    for question, greedy, best in zip(
        questions, answers, three.answer(features, questions), strict=True
    ):
        for answer, count in ((greedy.ids, 1), (best.ids, 3)):
            expected = generated(
                florence, IMAGES[question.image], question.prompt, 48, count, no_repeat=2
            )
            assert answer == expected[: expected.index(EOS) + 1 if EOS in expected else None]


def test_an_n_gram_counts_the_start_of_the_answer() -> None:
    assert grammar.repeating_tokens([2, 0, 5, 6, 2, 0], 3) == [5]
    assert grammar.repeating_tokens([7, 8, 7, 8, 7], 2) == [8, 8]
    assert (
        grammar.repeating_tokens([7, 8, 7, 8, 7], 0) == []
        and grammar.repeating_tokens([7, 8], 3) == []
    )
    assert grammar.repeating_tokens([7, 8], 1) == [7, 8]
