"""ONNX files: loading them with onnxruntime, and saying what a file is that is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.base import StageError, thread_count

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# How files begin that are taken for ONNX models.
BEGINNINGS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"PK\x03\x04": "a zip file, such as a PyTorch checkpoint: export it to ONNX first",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself",
    b"<": "a web page: fetch the file itself",
    b"\x1f\x8b": "a gzip file: unpack it first",
}


def load_session(weights: str) -> InferenceSession:
    """A session on the GPU, if there is one.

    Raises StageError if onnxruntime cannot load the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    available = onnxruntime.get_available_providers()
    providers = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in available:
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(weights, options, providers)
    except session_errors() as error:
        raise StageError(f"weights={weights}: {_what_it_is(weights)}") from error


def session_errors() -> tuple[type[Exception], ...]:
    """The errors of onnxruntime for files that it cannot load or run.

    They have no common base class.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    return (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NoModel,
        errors.NoSuchFile,
        errors.NotImplemented,
    )


def _what_it_is(weights: str) -> str:
    """Why a file is no ONNX model, as far as its first bytes tell."""
    file = Path(weights)
    if not file.is_file():
        return "no such file"
    size = file.stat().st_size
    if not size:
        return "no ONNX model: the file is empty"
    with open(file, "rb") as stream:
        start = stream.read(64)
    for beginning, kind in BEGINNINGS.items():
        if start.startswith(beginning):
            return f"no ONNX model ({size:,} bytes): it is {kind}"
    return f"no whole ONNX model ({size:,} bytes): it may be cut off; fetch it again"
