"""Faces: cascades of OpenCV on a drawn face, and a YuNet that answers constants."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.schema import FINDING, Annotations
from stages.base import Sample, StageError
from stages.specialists.faces import Faces, FacesConfig
from tests.stages.specialists.test_yolox import constant_onnx, field

CASCADE = cv2.data.haarcascades + "haarcascade_frontalface_default.xml"
SIDE = 64
"""Of the image that the YuNet of these tests takes."""


def drawn_face() -> np.ndarray:
    """A face at (105, 48) to (215, 192), drawn; (240, 320, 3) uint8 RGB."""
    image = np.full((240, 320, 3), 200, np.uint8)
    shapes: list[tuple[tuple[int, int], tuple[int, int], tuple[int, int, int]]] = [
        ((160, 120), (55, 72), (224, 172, 140)),
        *[((x, 104), (15, 9), (110, 70, 60)) for x in (138, 182)],
        *[((x, 92), (17, 5), (60, 40, 30)) for x in (138, 182)],
        *[((x, 104), (5, 5), (20, 10, 10)) for x in (138, 182)],
        ((160, 128), (6, 18), (240, 195, 165)),
        ((160, 140), (12, 5), (170, 110, 90)),
        ((160, 160), (24, 7), (120, 50, 60)),
    ]
    for centre, axes, colour in shapes:
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1)
    return cv2.GaussianBlur(image, (7, 7), 0)


def found(stage: Faces, image: np.ndarray) -> Annotations:
    (result,) = stage([Sample(key="k", size=(image.shape[1], image.shape[0]), image=image)])
    assert isinstance(result, Annotations)
    return result


def test_a_cascade_finds_a_drawn_face_as_a_finding_without_a_score() -> None:
    stage = Faces(FacesConfig(weights=CASCADE))
    (face,) = found(stage, drawn_face()).regions
    assert (face.phrase, face.dropped, face.score) == ("face", FINDING, None)
    left, top, right, bottom = face.box
    assert left < 138 < 182 < right and top < 92 < 160 < bottom
    assert len(found(stage, np.full((100, 100, 3), 90, np.uint8))) == 0


def test_a_large_image_is_reduced_and_its_face_is_where_it_was() -> None:
    large = cv2.resize(drawn_face(), None, fx=3, fy=3)
    stage = Faces(FacesConfig(weights=CASCADE, side=320))
    (small,) = found(stage, drawn_face()).regions
    (face,) = found(stage, large).regions
    assert face.box == pytest.approx([3 * value for value in small.box], abs=12)


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
    (tmp_path / "text.xml").write_text("<html></html>")
    (tmp_path / "text.onnx").write_text("no model")
    yolox = constant_onnx(tmp_path / "yolox.onnx", np.zeros((1, 84, 85), np.float32))
    for path, problem in (
        (tmp_path / "none.onnx", "no such file"),
        (tmp_path / "text.xml", "no cascade of OpenCV"),
        (tmp_path / "text.onnx", "no YuNet model"),
        (yolox, "no YuNet model"),
    ):
        with pytest.raises(StageError) as error:
            Faces.check(FacesConfig(weights=str(path)))
        message = f"weights={path}: {problem}; give face_detection_yunet_2023mar.onnx of OpenCV's"
        assert str(error.value).startswith(message) and "\n" not in str(error.value)
