"""YOLOX: letterbox, decoding and selection by hand.

A whole session runs on a file that answers constants.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from stages.base import Sample, StageError
from stages.specialists.yolox import (
    Detections,
    Yolox,
    YoloxConfig,
    decode,
    grid,
    letterbox,
    read_classes,
    select,
)

SIDE = 64
ROWS = 8 * 8 + 4 * 4 + 2 * 2


def row(
    output: np.ndarray, index: int, xywh: tuple[float, ...], objectness: float, **classes: float
) -> None:
    output[index, :5] = [*xywh, objectness]
    for name, score in classes.items():
        output[index, 5 + int(name[1:])] = score


def field(number: int, value: bytes | int) -> bytes:
    """One protobuf field: a varint or a length-delimited value."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    return bytes([value & 127 | 128]) + varint(value >> 7)


def constant_onnx(
    path: Path, output: np.ndarray, input_shape: tuple[int, ...] = (1, 3, SIDE, SIDE)
) -> str:
    """An ONNX file of YOLOX's form whose output is always `output`."""

    def value_info(name: bytes, shape: tuple[int, ...]) -> bytes:
        dims = b"".join(field(1, field(1, n)) for n in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    tensor = b"".join(field(1, n) for n in output.shape) + field(2, 1) + field(8, b"answer")
    tensor += field(9, output.astype("<f4").tobytes())
    node = field(1, b"answer") + field(2, b"output") + field(4, b"Identity")
    graph = field(1, node) + field(2, b"g") + field(5, tensor)
    graph += field(11, value_info(b"images", input_shape)) + field(
        12, value_info(b"output", output.shape)
    )
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13)))
    return str(path)


def test_letterbox_puts_the_image_top_left_as_bgr_and_fills_with_grey() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[..., 0] = 200  # red
    pixels, scale = letterbox(image, (SIDE, SIDE))
    assert (pixels.shape, pixels.dtype, scale) == ((1, 3, SIDE, SIDE), np.float32, 1.6)
    assert pixels[0, :, 31, 63].tolist() == [0, 0, 200]
    assert pixels[0, :, 32, 0].tolist() == [114, 114, 114]


def test_letterbox_survives_extreme_aspects() -> None:
    assert letterbox(np.zeros((1, 5000, 3), np.uint8), (SIDE, SIDE))[0].shape == (1, 3, SIDE, SIDE)


def test_rows_go_through_strides_8_16_32_row_by_row() -> None:
    cells, strides = grid((SIDE, SIDE))
    assert len(cells) == ROWS
    assert [cells[9].tolist(), strides[9, 0]] == [[1, 1], 8]
    assert [cells[64 + 5].tolist(), strides[64 + 5, 0]] == [[1, 1], 16]
    assert [cells[-1].tolist(), strides[-1, 0]] == [[1, 1], 32]


def test_decode_turns_cell_offsets_into_boxes_and_multiplies_scores() -> None:
    output = np.zeros((ROWS, 85), np.float32)
    row(output, 64 + 5, (0.5, 0.25, np.log(2), 0), 0.5, c2=0.4, c7=0.8)
    found = decode(output, (SIDE, SIDE))
    # centre ((0.5 + 1) * 16, (0.25 + 1) * 16) = (24, 20); sides 2 * 16 and 1 * 16
    assert found.boxes[69] == pytest.approx([8, 12, 40, 28])
    assert (found.scores[69], found.labels[69]) == (pytest.approx(0.4), 7)


def test_select_suppresses_within_a_class_only_best_first_and_caps() -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [30, 30, 40, 40], [50, 50, 60, 60]], float
    )
    scores, labels = np.array([0.5, 0.6, 0.4, 0.9, 0.005]), np.array([1, 1, 2, 1, 1])
    found = Detections(boxes, scores, labels)
    config = YoloxConfig(weights="x.onnx", min_score=0.01, nms_iou=0.65)
    assert select(found, config).tolist() == [3, 1, 2]
    assert select(found, YoloxConfig(weights="x.onnx", max_regions=2)).tolist() == [3, 1]


def test_a_session_gives_clipped_boxes_in_image_pixels_with_category_names(tmp_path: Path) -> None:
    output = np.zeros((1, ROWS, 85), np.float32)
    row(
        output[0], ROWS - 4, (0.5, 0.5, np.log(4), np.log(0.5)), 0.9, c16=1.0
    )  # centre (16, 16), 128 x 16
    stage = Yolox(YoloxConfig(weights=constant_onnx(tmp_path / "m.onnx", output)))
    image = np.zeros((128, 128, 3), np.uint8)
    (result,) = stage([Sample(key="k", size=(128, 128), image=image)])
    (region,) = result.regions
    assert region.box == pytest.approx((0, 16, 128, 48))
    assert (region.phrase, region.score) == ("dog", pytest.approx(0.9))


def test_nothing_above_the_floor_gives_no_regions(tmp_path: Path) -> None:
    stage = Yolox(YoloxConfig(weights=constant_onnx(tmp_path / "m.onnx", np.zeros((1, ROWS, 85)))))
    (result,) = stage([Sample(key="k", size=(9, 9), image=np.zeros((9, 9, 3), np.uint8))])
    assert len(result) == 0


def test_the_packaged_classes_are_cocos() -> None:
    names = read_classes("")
    assert len(names) == 80
    assert (names[0], names[3], names[57], names[79]) == (
        "person",
        "motorcycle",
        "couch",
        "toothbrush",
    )


@pytest.mark.skipif(
    "FLD_YOLOX" not in os.environ, reason="set FLD_YOLOX to a YOLOX .onnx of 416 pixels"
)
def test_released_weights_are_read_alike_in_any_batch() -> None:
    stage = Yolox(YoloxConfig(weights=os.environ["FLD_YOLOX"]))
    rng = np.random.default_rng(0)
    batch = [
        Sample(key=str(i), size=(90, 60), image=rng.integers(0, 256, (60, 90, 3), np.uint8))
        for i in range(3)
    ]
    assert stage(batch) == [stage([sample])[0] for sample in batch]


def test_a_model_with_another_number_of_classes_than_names_is_refused(tmp_path: Path) -> None:
    weights = constant_onnx(tmp_path / "m.onnx", np.zeros((1, ROWS, 5 + 3)))
    with pytest.raises(StageError, match="has 3 classes, but there are 80 class names: set `class"):
        Yolox(YoloxConfig(weights=weights))
    (tmp_path / "names.txt").write_text("dog\ncat\nbus\n")
    stage = Yolox(YoloxConfig(weights=weights, classes=str(tmp_path / "names.txt")))
    assert stage.classes == ["dog", "cat", "bus"]


@pytest.mark.parametrize("shape", [(1, 85, ROWS), (1, ROWS + 1, 85), (ROWS, 85)])
def test_a_model_with_another_output_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    weights = constant_onnx(tmp_path / "m.onnx", np.zeros(shape))
    with pytest.raises(StageError, match=r"m.onnx: no YOLOX model \(its outputs have the shapes"):
        Yolox(YoloxConfig(weights=weights))


def test_a_model_with_another_input_is_refused(tmp_path: Path) -> None:
    output = np.zeros((1, ROWS, 85))
    weights = constant_onnx(tmp_path / "m.onnx", output, input_shape=(1, 1, SIDE, SIDE))
    with pytest.raises(StageError, match=r"its inputs have the shapes \[\[1, 1, 64, 64\]\]"):
        Yolox(YoloxConfig(weights=weights))


def test_a_row_for_each_number_is_named_as_yolov8s_layout(tmp_path: Path) -> None:
    weights = constant_onnx(tmp_path / "m.onnx", np.zeros((1, 4 + 20, 200)))
    with pytest.raises(StageError, match=r"a row for each number .* is YOLOv8's layout"):
        Yolox(YoloxConfig(weights=weights))


def test_boxes_that_the_file_has_decoded_are_refused(tmp_path: Path) -> None:
    """Its shape is the right one, so every box would be wrong without a word."""
    output = np.zeros((1, ROWS, 85))
    output[..., :2] = 40.0
    weights = constant_onnx(tmp_path / "m.onnx", output)
    with pytest.raises(StageError, match="its boxes are decoded: centres of 40"):
        Yolox(YoloxConfig(weights=weights))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no ONNX model: the file is empty"),
        (b"\xff\xd8\xff\xe0 more", r"no ONNX model \(9 bytes\): it is a JPEG image"),
        (
            b"PK\x03\x04",
            r"no ONNX model \(4 bytes\): it is a zip file, such as a PyTorch",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1",
            r"no ONNX model \(42 bytes\): it is a pointer of Git LFS: fetch",
        ),
        (b"<!doctype html>", r"no ONNX model \(15 bytes\): it is a web page"),
        (b"no model", r"no whole ONNX model \(8 bytes\): it may be cut off; fetch it again"),
    ],
)
def test_a_file_that_is_no_onnx_model_is_named(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(StageError, match=rf"weights=.*m.onnx: {what}"):
        Yolox.check(YoloxConfig(weights=str(tmp_path / "m.onnx")))


def test_a_model_that_is_cut_off_is_named(tmp_path: Path) -> None:
    weights = Path(constant_onnx(tmp_path / "m.onnx", np.zeros((1, ROWS, 85))))
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(StageError, match=r"no whole ONNX model \(5,000 bytes\): it may be cut off"):
        Yolox.check(YoloxConfig(weights=str(weights)))


def test_empty_lines_at_the_end_of_the_classes_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"dog\r\n cat \r\n\r\n\n")
    assert read_classes(str(tmp_path / "names.txt")) == ["dog", "cat"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"weights=.*none.onnx: "):
        Yolox(YoloxConfig(weights=str(tmp_path / "none.onnx")))
    with pytest.raises(StageError, match=r"classes=.*none.txt: "):
        read_classes(str(tmp_path / "none.txt"))
