"""`fld train` by itself: any number of workers, killed and resumed, the model for everyone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.compose import compose
from pipeline.storage.store import Store
from pipeline.studies.data import DataConfig, obtain
from pipeline.training.data import TrainingSet
from pipeline.training.standalone import parse, train_once
from stages.base import Sample
from stages.florence.training import train
from tests.system.conftest import command, fld_here, kill_when

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

STEPS = 14
KILL_SECONDS = 120
SETTINGS = [
    f"train.stages=[[32,{STEPS - 8}],[64,8]]",
    "train.batch_size=4",
    "train.targets_per_image=2",
    "train.warmup_steps=4",
    "train.mirror=true",
    "train.average=0.8",
    "train.checkpoint_every=3",
]
TWO_WORKERS = "cluster.groups.train.actors=[2,2]"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return obtain(Store(str(tmp_path_factory.mktemp("data"))), DataConfig(scenes=10, seed=4))[0]


@pytest.fixture(scope="module")
def shards(data: TrainingSet) -> str:
    return f"{data.store.url}/scenes/4"


@pytest.fixture(scope="module")
def whole(shards: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted training by two workers."""
    out = tmp_path_factory.mktemp("whole")
    board = f"train.tensorboard={out}/board"
    made = train_once(shards, str(out), parse(compose([*SETTINGS, TWO_WORKERS, board], "training")))
    assert made["model"] == f"{out}/model" and made["samples"] == 10 and made["steps"] == STEPS
    return out


def history(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "model/metrics.jsonl").read_text().splitlines()]


def published(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (out / "model").iterdir() if file.is_file()}


def test_two_workers_follow_the_curve_of_one(
    whole: Path, data: TrainingSet, tmp_path: Path
) -> None:
    settings = parse(compose(SETTINGS, "training"))
    config = settings.train

    def batches(step: int) -> Iterator[list[Sample]]:
        return data.batches(step, config.batch_size, config.seed, 0, 1)

    train(config, settings.start, batches, tmp_path / "model")
    one, two = history(tmp_path), history(whole)
    assert len(one) == len(two) == STEPS and one != two
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4) and a["tokens"] == b["tokens"]


@pytest.mark.slow
def test_killed_at_a_random_step_and_once_more_in_its_worker_it_ends_with_the_same_bytes(
    whole: Path, shards: str, tmp_path: Path
) -> None:
    arguments = ["train", shards, str(tmp_path), *SETTINGS, TWO_WORKERS]
    step = random.SystemRandom().randrange(3, STEPS - 6)

    def at(wanted: int) -> bool:
        marks = [
            int(f.stem.removeprefix("step-")) for f in tmp_path.glob("journal/train/model/*.done")
        ]
        return max(marks, default=0) >= wanted

    first = subprocess.Popen(
        command(*arguments), stderr=subprocess.DEVNULL, start_new_session=True, text=True
    )
    assert kill_when(first, lambda: at(step))
    assert not (tmp_path / "model").exists()
    reached = max(f.stem for f in tmp_path.glob("journal/train/model/*.done"))
    with ThreadPoolExecutor() as threads:
        killed = threads.submit(kill_worker, time.monotonic() + KILL_SECONDS)
        second = fld_here(*arguments)
    assert killed.result()
    assert second.returncode == 0, second.stderr[-3000:]
    assert published(tmp_path) == published(whole), f"killed after {reached}"


def kill_worker(deadline: float) -> bool:
    """kill -9 the training worker of this process's Ray; False if none comes up in time."""
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "cmdline").read_bytes()
                # This process starts the raylet, which starts the workers.
                is_own = parent(parent(int(process.name))) == os.getpid()
            except OSError:
                continue
            if name.startswith(b"ray::RayTrainWorker") and is_own:
                os.kill(int(process.name), signal.SIGKILL)
                return True
        time.sleep(0.2)
    return False


def parent(process: int) -> int:
    """The process that started a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


def test_what_is_done_is_not_done_again_and_other_settings_are_refused(
    whole: Path, shards: str
) -> None:
    before = published(whole)
    done = fld_here("train", shards, str(whole), *SETTINGS, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["loss"] == history(whole)[-1]["loss"]
    assert published(whole) == before
    other = fld_here("train", shards, str(whole), *SETTINGS, "train.learning_rate=0.5")
    assert other.returncode == 2 and "made with other train.learning_rate" in other.stderr


def test_curves_are_written_for_tensorboard(whole: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(whole / "board"))
    events.Reload()
    assert [e.value for e in events.Scalars("train/loss")] == pytest.approx(
        [m["loss"] for m in history(whole)]
    )


def test_the_model_gives_the_same_tokens_through_plain_generate(
    whole: Path, data: TrainingSet
) -> None:
    import torch
    from transformers import AutoTokenizer, Florence2ForConditionalGeneration

    from stages.florence.generation import Question
    from stages.florence.images import pixel_values
    from stages.florence.inference import FlorenceInference
    from stages.florence.model import load
    from stages.florence.tasks import TASKS

    images = [s.pixels for s in next(data.batches(0, 3, 0, 0, 1))]
    mine = FlorenceInference(load(str(whole / "model")), 64)
    tokenizer: Any = AutoTokenizer.from_pretrained(whole / "model")
    model: Any = Florence2ForConditionalGeneration.from_pretrained(
        whole / "model", dtype=torch.float32
    )
    values = pixel_values(images, 64)
    for token in ("<CAPTION>", "<OD>"):
        answers = mine.answer(
            mine.encode_images(images),
            [Question(i, TASKS[token].prompt, max_tokens=24) for i in range(3)],
        )
        tokens = model.get_image_features(values[:1]).pooler_output.shape[1]
        row = [model.config.image_token_id] * tokens + tokenizer(TASKS[token].prompt).input_ids
        plain = model.generate(
            input_ids=torch.tensor([row] * 3),
            pixel_values=values,
            num_beams=1,
            do_sample=False,
            max_new_tokens=25,
            forced_eos_token_id=None,
        )
        for ids, answer in zip(plain.tolist(), answers, strict=True):
            assert ids[2 : 2 + len(answer.ids)] == answer.ids


def test_mistakes_are_one_line(shards: str, tmp_path: Path) -> None:
    for arguments, message in (
        ([str(tmp_path), str(tmp_path / "o")], "no shards there"),
        ([shards, str(tmp_path / "o"), "start=/nowhere"], "start=/nowhere: no such file or folder"),
        (
            [shards, str(tmp_path / "o"), "train.tasks=['<OCD>']"],
            "train.tasks: <OCD>: no such task; did you mean <OD>?",
        ),
        (
            [shards, str(tmp_path / "o"), "cluster.groups.train={actors: [99, 99]}"],
            "99 workers want 99 CPU",
        ),
    ):
        done = fld_here("train", *arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]  # Ray may have said that it started
        assert last.startswith("fld: error: ") and message in last
