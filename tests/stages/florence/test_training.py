"""Training: same bytes after a kill, same curve for any number of ranks, reproducible examples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.schema import HUMAN, KINDS, Annotations
from stages.base import Sample
from stages.embedded.scenes import DEMO, render
from stages.florence.config import TrainConfig
from stages.florence.distributed import Distributed
from stages.florence.examples import draw_examples, label_weight
from stages.florence.model import create, load, save
from stages.florence.state import Checkpoint
from stages.florence.tasks import find_task
from stages.florence.tokenizer import make_tokenizer
from stages.florence.trainer import Trainer
from stages.florence.training import Hooks, train

CONFIG = TrainConfig(
    stages=((32, 4), (64, 2)),
    average=0.9,
    batch_size=4,
    targets_per_image=3,
    warmup_steps=2,
    checkpoint_every=2,
    device="cpu",
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    save(
        create(
            "nano", make_tokenizer([s.annotations.texts[1].text for s in samples()], 320), seed=0
        ),
        folder,
    )
    return str(folder)


def samples(count: int = 8) -> list[Sample]:
    scenes = [render(DEMO, 0, i) for i in range(count)]
    return [
        Sample(key=f"scene-{i}", size=(192, 192), annotations=s.truth, image=s.image)
        for i, s in enumerate(scenes)
    ]


def batches(step: int, rank: int = 0, size: int = 1) -> Iterator[Sequence[Sample]]:
    everything = samples()
    while True:
        batch = [everything[(step * 4 + i) % len(everything)] for i in range(4)]
        yield batch[rank * 4 // size : (rank + 1) * 4 // size]
        step += 1


def by_people(sample: Sample) -> Sample:
    """The sample with human labels."""
    labels = Annotations()
    for kind in KINDS:
        for label in getattr(sample.annotations, kind):
            getattr(labels, kind).append(replace(label, source=HUMAN))
    return replace(sample, annotations=labels)


def mixed_batches(step: int, rank: int = 0, size: int = 1) -> Iterator[Sequence[Sample]]:
    """`batches` in which people have labelled the scenes 0, 3 and 6."""
    for batch in batches(step, rank, size):
        yield [by_people(s) if int(s.key.split("-")[1]) % 3 == 0 else s for s in batch]


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


class KilledError(Exception):
    pass


def test_a_killed_and_resumed_run_ends_with_the_same_bytes(start: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(CONFIG, start, batches, whole)
    kept: list[Path] = []

    def keep_then_die(folder: Path, step: int) -> None:
        kept.append(Path(shutil.copytree(folder, tmp_path / f"step-{step}")))
        if step == 4:
            raise KilledError

    with pytest.raises(KilledError):
        train(CONFIG, start, batches, cut, hooks=Hooks(save=keep_then_die))
    train(CONFIG, Checkpoint(kept[-1]), batches, cut)
    assert files(whole) == files(cut)
    assert {"model.safetensors", "metrics.jsonl", "processor_config.json"} <= files(whole).keys()


def test_the_loss_falls_and_the_model_loads_by_plain_from_pretrained(
    start: str, tmp_path: Path
) -> None:
    from transformers import AutoProcessor, Florence2ForConditionalGeneration

    config = replace(CONFIG, stages=((32, 30),), learning_rate=2e-3)
    train(config, start, batches, tmp_path)
    losses = [
        json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    stranger = Florence2ForConditionalGeneration.from_pretrained(tmp_path)
    mine = load(str(tmp_path)).model.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in stranger.state_dict().items())
    assert AutoProcessor.from_pretrained(tmp_path).image_processor.size == square(32)


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def test_a_checkpoint_has_the_processor_of_its_last_step(start: str, tmp_path: Path) -> None:
    sides = {}

    def note(folder: Path, step: int) -> None:
        settings = json.loads((folder / "processor_config.json").read_text())
        sides[step] = settings["image_processor"]["size"]

    config = replace(CONFIG, stages=((32, 1), (64, 2)), checkpoint_every=1)
    train(config, start, batches, tmp_path, hooks=Hooks(save=note))
    assert sides == {1: square(32), 2: square(64)}


WEIGHTED = replace(CONFIG, human_weight=4.0)


def _rank(rank: int, size: int, start: str, out: str, port: int) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
    )
    train(
        WEIGHTED,
        start,
        lambda step: mixed_batches(step, rank, size),
        Path(out),
        distributed=Distributed(rank, size),
    )
    torch.distributed.destroy_process_group()


@pytest.mark.subprocess
def test_two_ranks_follow_the_curve_of_one(start: str, tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_rank, (2, start, str(tmp_path / "two"), port), nprocs=2)
    train(WEIGHTED, start, mixed_batches, tmp_path / "one")
    one, two = ((tmp_path / n / "metrics.jsonl").read_text().splitlines() for n in ("one", "two"))
    assert len(one) == len(two) == CONFIG.steps
    for a, b in zip(map(json.loads, one), map(json.loads, two), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4) and a["tokens"] == b["tokens"]


def test_human_labels_weigh_more_and_the_loss_is_the_mean_by_weight(start: str) -> None:
    trainer = Trainer(WEIGHTED, load(start))
    trainer.florence.model.eval()
    first, second = samples(2)
    alone, other = trainer.loss([first]), trainer.loss([second])
    assert (alone.weight, other.weight) == (alone.tokens, other.tokens)
    mixed = trainer.loss([by_people(first), second])
    assert mixed.tokens == alone.tokens + other.tokens
    assert mixed.weight == pytest.approx(4 * alone.tokens + other.tokens)
    expected = 4 * alone.total.item() + other.total.item()
    assert mixed.total.item() == pytest.approx(expected, rel=1e-4)
    expected /= mixed.weight
    assert trainer.learn([by_people(first), second])["loss"] == pytest.approx(expected, rel=1e-3)


def test_an_example_weighs_as_much_as_its_labels_on_average() -> None:
    (sample,) = samples(1)
    regions = [replace(sample.annotations.regions[0], source=HUMAN)]
    regions += sample.annotations.regions[1:]
    annotations = Annotations(regions=regions)
    (everything,) = find_task("<OD>").examples(annotations, sample.size)
    count = len(regions)
    assert count > 1
    weight = label_weight(everything, annotations, 5.0)
    assert weight == pytest.approx((5 + count - 1) / count)
    single = find_task("<REGION_TO_CATEGORY>").examples(annotations, sample.size)
    assert sorted(label_weight(each, annotations, 5.0) for each in single) == [1.0] * (
        count - 1
    ) + [5.0]


def test_targets_depend_on_step_and_key_and_follow_the_family_weights() -> None:
    sample = samples(1)[0]
    config = replace(CONFIG, targets_per_image=2)
    drawn = [draw_examples(sample, config, step) for step in range(200)]
    assert drawn == [draw_examples(sample, config, step) for step in range(200)]
    different = set()
    for examples in drawn:
        different.add(tuple(example.target for example in examples))
    assert len(different) > 20
    only_text = replace(config, families={"image": 1.0, "region": 0.0, "alignment": 0.0})
    assert {p.task for p in draw_examples(sample, only_text, 0)} == {"<CAPTION>"}


def learnt(start: str, out: Path, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The weights after two steps and their metrics."""
    config = replace(CONFIG, stages=((32, 2),), average=0.0, **settings)
    train(config, start, batches, out)
    history = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return load(str(out)).model.state_dict(), history


@pytest.fixture(scope="module")
def plain(start: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return learnt(start, tmp_path_factory.mktemp("plain"))[1]


@pytest.mark.parametrize("settings", [{"micro_batch": 1}, {"micro_batch": 3}, {"recompute": True}])
def test_saving_memory_does_not_change_what_is_learnt(
    plain: list[dict[str, Any]], start: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    for mine, theirs in zip(learnt(start, tmp_path, **settings)[1], plain, strict=True):
        assert (
            mine["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
            and mine["tokens"] == theirs["tokens"]
        )
        assert mine["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=1e-3)


def test_brain_floats_lose_little(plain: list[dict[str, Any]], start: str, tmp_path: Path) -> None:
    losses = [m["loss"] for m in learnt(start, tmp_path, dtype="bfloat16")[1]]
    expected = [m["loss"] for m in plain]
    assert losses != expected and losses == pytest.approx(expected, rel=0.02)


def test_a_frozen_vision_tower_stays_as_it_was_and_the_rest_learns(
    start: str, tmp_path: Path
) -> None:
    before = load(start).model.state_dict()
    after, _ = learnt(start, tmp_path, freeze_vision=True)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not any("vision_tower" in name for name in changed)
    assert any("multi_modal_projector" in name for name in changed)
    assert any("decoder" in name for name in changed)


def test_the_running_average_is_what_is_saved(start: str, tmp_path: Path) -> None:
    config = replace(CONFIG, stages=((32, 3),), average=0.75)
    seen = [load(start).model.state_dict()["model.language_model.shared.weight"].clone()]
    # The learning rate is always scheduled for three steps; the runs only stop earlier.
    for steps in (1, 2, 3):
        part = tmp_path / str(steps)
        trainer = Trainer(config, load(start))
        feed = batches(0)
        for _ in range(steps):
            trainer.learn(next(feed))
        seen.append(trainer.state.parameters["model.language_model.shared.weight"].detach().clone())
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.75 * expected + 0.25 * weights
    train(config, start, batches, part)
    saved = load(str(part)).model.state_dict()["model.language_model.shared.weight"]
    assert torch.allclose(saved, expected, atol=1e-6) and not torch.allclose(
        saved, seen[-1], atol=1e-4
    )


def test_more_processes_than_images_are_refused(start: str) -> None:
    with pytest.raises(ValueError, match="batch_size=4: 5 workers need at least one image each"):
        Trainer(CONFIG, load(start), Distributed(rank=0, world_size=5))


def test_a_wrong_setting_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match=r"average=1\.5"):
        TrainConfig(average=1.5)
    with pytest.raises(ValueError, match="tasks: <CAPTOIN>: no such task; did you mean <CAPTION>"):
        TrainConfig(tasks=("<CAPTOIN>",))


def test_dropped_labels_teach_nothing() -> None:
    sample = samples(1)[0]
    annotations = sample.annotations
    dropped: Any = [replace(r, dropped="low_score") for r in annotations.regions]
    config = replace(CONFIG, tasks=("<OD>", "<REGION_TO_CATEGORY>"))
    assert draw_examples(sample, config, 0)
    assert not draw_examples(
        replace(sample, annotations=replace(annotations, regions=dropped)), config, 0
    )


def test_the_rate_warms_up_and_ends_low_and_resolution_grows() -> None:
    config = TrainConfig(stages=((64, 80), (96, 20)), warmup_steps=10, learning_rate=1.0)
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0 and rates.index(1.0) in (9, 10)
    assert rates[-1] < 0.06 and config.resolution(79) == 64 and config.resolution(80) == 96
