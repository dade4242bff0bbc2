"""Tiny random checkpoints of the published architectures, saved the way published ones are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.stages.specialists.describing import Server
from tests.stages.specialists.tiny import clip, siglip, siglip2
from tests.stages.specialists.tiny_finders import (
    d_fine,
    dab_detr,
    deformable_detr,
    grounding_dino,
    mm_grounding_dino,
    rt_detr,
    sam,
    sam2,
    sam_hq,
)
from tests.stages.specialists.tiny_speakers import blip, blip2, florence2, llava, qwen3_vl, smolvlm

BUILDERS: dict[str, Callable[[], list[Any]]] = {
    f.__name__: f
    for f in (
        clip,
        siglip,
        siglip2,
        rt_detr,
        d_fine,
        deformable_detr,
        dab_detr,
        grounding_dino,
        mm_grounding_dino,
        sam,
        sam_hq,
        sam2,
        blip,
        blip2,
        florence2,
        llava,
        qwen3_vl,
        smolvlm,
    )
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a tiny checkpoint by the name of its builder; each is made once."""
    made: dict[str, str] = {}

    def get(name: str) -> str:
        import torch

        if name not in made:
            torch.manual_seed(0)
            folder = tmp_path_factory.mktemp(name)
            model, *parts = BUILDERS[name]()
            for part in (model, *parts):
                part.save_pretrained(folder)
            made[name] = str(folder)
        return made[name]

    return get


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()
