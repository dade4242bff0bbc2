"""Faces: a file of YuNet's form that answers constants, read by OpenCV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.schema import FINDING, Annotations
from stages.base import Sample, StageError
from stages.specialists.faces import Faces, FacesConfig
from tests.stages.specialists.test_yolox import constant_onnx, field

SIDE = 64
"""Of the image that the YuNet of these tests takes."""


def found(stage: Faces, image: np.ndarray) -> Annotations:
    (result,) = stage([Sample(key="k", size=(image.shape[1], image.shape[0]), image=image)])
    assert isinstance(result, Annotations)
    return result


def constant_yunet(path: Path, outputs: dict[str, np.ndarray]) -> str:
    """An ONNX file of YuNet's form with constant outputs.

    Each is a mean of the image times nothing, plus the constant: OpenCV drops a graph without an
    input.
    """

    def value_info(name: str, shape: tuple[int, ...]) -> bytes:
        dims = b"".join(field(1, field(1, n)) for n in shape)
        return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, dims)))

    def tensor(name: str, values: np.ndarray) -> bytes:
        kind = 1 if values.dtype == np.float32 else 7
        dims = b"".join(field(1, n) for n in values.shape)
        return field(
            5, dims + field(2, kind) + field(8, name.encode()) + field(9, values.tobytes())
        )

    def node(kind: str, inputs: list[str], output: str) -> bytes:
        names = b"".join(field(1, name.encode()) for name in inputs)
        return field(1, names + field(2, output.encode()) + field(4, kind.encode()))

    graph = node("GlobalAveragePool", ["input"], "mean") + node("Flatten", ["mean"], "flat")
    rest = b""
    for name, values in outputs.items():
        graph += node("Gemm", ["flat", f"{name}_zero", f"{name}_answer"], f"{name}_row")
        graph += node("Reshape", [f"{name}_row", f"{name}_shape"], name)
        rest += tensor(f"{name}_zero", np.zeros((3, values.size), np.float32))
        rest += tensor(f"{name}_answer", values.reshape(1, -1).astype(np.float32))
        rest += tensor(f"{name}_shape", np.array(values.shape, np.int64))
        rest += field(12, value_info(name, values.shape))
    graph += field(2, b"g") + rest + field(11, value_info("input", (1, 3, SIDE, SIDE)))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13)))
    return str(path)


@pytest.fixture
def yunet(tmp_path: Path) -> str:
    """A face of 24 x 16 pixels around (40, 20) with the score 0.9, and one at 0.5."""
    outputs = {}
    for stride in (8, 16, 32):
        cells = (SIDE // stride) ** 2
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{name}_{stride}"] = np.zeros((1, cells, width), np.float32)
    # The score is the root of both. Offsets of the centre are in cells, sides are logarithms.
    for cell, score in ((1 * 4 + 2, 0.81), (3 * 4, 0.25)):
        outputs["cls_16"][0, cell] = score
        outputs["obj_16"][0, cell] = 1
        outputs["bbox_16"][0, cell] = [0.5, 0.25, np.log(1.5), 0]
    return constant_yunet(tmp_path / "yunet.onnx", outputs)


def test_boxes_and_scores_of_yunet_are_those_of_the_image(yunet: str) -> None:
    stage = Faces(FacesConfig(weights=yunet, min_score=0.6))
    (face,) = found(stage, np.zeros((SIDE, SIDE, 3), np.uint8)).regions
    assert (face.phrase, face.dropped) == ("face", FINDING)
    assert face.box == pytest.approx((28, 12, 52, 28), abs=1e-3)
    assert face.score == pytest.approx(0.9, abs=1e-4)
    twice = Faces(FacesConfig(weights=yunet, min_score=0.6, side=SIDE))
    (face,) = found(twice, np.zeros((2 * SIDE, 2 * SIDE, 3), np.uint8)).regions
    assert face.box == pytest.approx((56, 24, 104, 56), abs=1e-3)


def test_the_least_score_decides_which_faces_are_stored(yunet: str) -> None:
    stage = Faces(FacesConfig(weights=yunet, min_score=0.4))
    scores = [face.score for face in found(stage, np.zeros((SIDE, SIDE, 3), np.uint8)).regions]
    assert scores == pytest.approx([0.9, 0.5], abs=1e-4)


def test_files_that_are_no_model_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    yolox = constant_onnx(tmp_path / "yolox.onnx", np.zeros((1, 84, 85), np.float32))
    for path, problem in (
        (tmp_path / "none.onnx", "no such file"),
        (tmp_path / "text.onnx", "no YuNet model"),
        (yolox, "no YuNet model"),
    ):
        with pytest.raises(StageError) as error:
            Faces.check(FacesConfig(weights=str(path)))
        message = f"weights={path}: {problem}; give face_detection_yunet_2023mar.onnx of OpenCV's"
        assert str(error.value).startswith(message) and "\n" not in str(error.value)
