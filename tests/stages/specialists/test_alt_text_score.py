"""Scores of whole-image texts, and the filter on them, with tiny random checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.schema import Annotations, Text
from stages.base import Sample
from stages.filters.text_score import TextScoreFilter, TextScoreFilterConfig
from stages.specialists.alt_text_score import AltTextScore, AltTextScoreConfig
from stages.specialists.score import ImageTextScore, ImageTextScoreConfig

ALT = Text(id="alt.texts.0", source="alt", granularity="alt", text="a dog in the snow")
OTHERS = [
    replace(ALT, id="1", text="buy now"),
    replace(ALT, id="2", text="dropped", dropped="too_long"),
    replace(ALT, id="3", text="has one", score=0.5),
    replace(ALT, id="4", text="by people", source="human"),
    replace(ALT, id="5", text="a caption", granularity="brief"),
]


def sample(key: str, texts: list[Text], side: int = 32) -> Sample:
    pixels = np.random.default_rng(len(key)).integers(0, 255, (side, side, 3), np.uint8)
    return Sample(key=key, size=(side, side), annotations=Annotations(texts=texts), image=pixels)


@pytest.mark.parametrize("name", ["clip", "siglip2"])
def test_alt_texts_get_the_cosine_to_their_image_as_score(name: str, checkpoint: Any) -> None:
    stage = AltTextScore(AltTextScoreConfig(model=checkpoint(name), rows=2))
    batch = [sample("a", [ALT, *OTHERS]), sample("bb", []), sample("ccc", [ALT])]
    results = stage(batch)
    scored = [[(text.id, text.text) for text in result.texts] for result in results]
    assert scored == [
        [("alt.texts.0", ALT.text), ("1", "buy now")],
        [],
        [("alt.texts.0", ALT.text)],
    ]
    towers = ImageTextScore(ImageTextScoreConfig(model=checkpoint(name)))
    (image,) = towers.embed_images([batch[2].pixels])
    (text,) = towers.embed_texts([ALT.text])
    assert results[2].texts[0].score == pytest.approx(float(image @ text), abs=1e-5)
    for own, alone in zip(results, [stage([one])[0] for one in batch], strict=True):
        assert [t.score for t in own.texts] == pytest.approx(
            [t.score for t in alone.texts], abs=1e-5
        )


def test_the_filter_drops_what_fits_too_little_and_leaves_the_rest_alone() -> None:
    stage = TextScoreFilter(TextScoreFilterConfig(min_score=0.3))
    texts = [
        replace(ALT, id="low", score=0.29),
        replace(ALT, id="enough", score=0.3),
        replace(ALT, id="unknown"),
        replace(ALT, id="human", score=0.1, source="human"),
        replace(ALT, id="brief", score=0.1, granularity="brief"),
        replace(ALT, id="gone", score=0.1, dropped="too_long"),
    ]
    (result,) = stage([sample("a", texts)])
    assert [(text.id, text.dropped) for text in result.texts] == [("low", "low_image_text_score")]


def test_a_template_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match=r"template=a: write \{\} where the text goes"):
        AltTextScoreConfig(model="m", template="a")
