"""Adapters when memory really runs out.

The worker halves their batch to single samples, and each becomes a row with a reason. The adapter
goes on once there is memory again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MODELS = {
    "clip": "score:ImageTextScore",
    "rt_detr": "detr:Detr",
    "d_fine": "detr:Detr",
    "deformable_detr": "detr:Detr",
    "dab_detr": "detr:Detr",
    "grounding_dino": "ground:GroundingDino",
    "sam": "segment:Sam",
    "blip2": "caption:PretrainedCaption",
    "florence2": "caption:PretrainedCaption",
    "llava": "describe_chat:ChatDescribe",
}

# In a process of its own, whose address space is bounded once the models are loaded.
RUN = """
import resource, sys
import numpy as np
from pipeline.schema import Annotations, Candidate, Region, Text
from pipeline.execution.worker import call
from stages.base import Failed, Sample
from stages.filters.language import parse
from stages.registry import resolve
from typing import get_type_hints

sizes = []

class Watched:
    def __init__(self, stage):
        self.stage = stage

    def __call__(self, batch):
        sizes.append(len(batch))
        return self.stage(batch)

text = Text(
    id="t",
    granularity="brief",
    text="a red dog sits beside a star.",
    parse=parse(["a red dog sits"])[0],
)
words = [Candidate(text="star", kind="phrase"), Candidate(text="red star", kind="chunk")]
SIDE = 5000  # a copy of such an image is 75 MB
region = Region(id="r", box=(0.0, 0.0, SIDE, SIDE), phrase="star", score=0.9, candidates=words)
image = np.zeros((SIDE, SIDE, 3), np.uint8)
prompted = {"florence2": {"prompt": "<CAPTION>"}, "llava": {"max_tokens": 16}}
stages = {}
for argument in sys.argv[1:]:
    name, target, folder = argument.split("=")
    cls = resolve("stages.specialists." + target)
    config_class = get_type_hints(cls.__init__)["config"]
    stages[name] = cls(config_class(model=folder, **prompted.get(name, {})))

def batch(name, side=SIDE):
    known = Annotations(texts=[text] * (name == "grounding_dino"), regions=[region])
    picture = image[:side, :side]
    return [
        Sample(key=str(i), size=(side, side), image=picture, annotations=known) for i in range(4)
    ]

def bound(size):
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))

for name, stage in stages.items():
    call(stage, batch(name, 50)[:1])
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    bound(used + (20 << 20))
    results = call(Watched(stage), batch(name))
    bound(resource.RLIM_INFINITY)
    again = call(stage, batch(name, 50)[:1])
    reasons = [r.reason if isinstance(r, Failed) else None for r in results]
    print(name, reasons, sizes, isinstance(again[0], Annotations), flush=True)
    sizes.clear()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="bounds its address space")
@pytest.mark.subprocess
def test_without_memory_every_sample_is_a_row_with_the_reason_and_later_ones_are_done(
    checkpoint: Callable[[str], str],
) -> None:
    arguments = [f"{name}={target}={checkpoint(name)}" for name, target in MODELS.items()]
    run = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    said = dict(line.split(" ", 1) for line in run.stdout.splitlines())
    assert set(said) == set(MODELS), run.stderr[-2000:]
    expected = f"{['out_of_memory'] * 4} [4, 2, 1, 1, 2, 1, 1] True"
    assert said == dict.fromkeys(MODELS, expected)
