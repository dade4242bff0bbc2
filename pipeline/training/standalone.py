"""`fld train`: one training run by itself, on any round or folder of round shards.

OUT/model is the `from_pretrained` folder with its metrics.jsonl; OUT/train.json says what it was made from. The same
command resumes, with any number of workers; other data or settings want another folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.parse import check_there
from pipeline.config.run import ClusterConfig
from pipeline.config.validation import build
from pipeline.plan.recipe import content_hash, recipe_settings
from pipeline.storage.lease import held
from pipeline.storage.store import Store
from pipeline.training.data import find
from pipeline.training.run import GROUP, Training, train
from stages.florence.config import VERSION, TrainConfig
from stages.florence.model import check_format, resolve

MODEL, RECIPE = "model", "train.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """`configs/training.yaml`: `seed` is that of everything the training draws."""

    start: str
    seed: int
    train: Any
    cluster: ClusterConfig


def parse(values: Mapping[str, Any]) -> FitConfig:
    """Raises:
    ValueError: one line with the key, the value and what to change.
    """
    config: FitConfig = build(
        FitConfig,
        {
            **values,
            "train": build(TrainConfig, {**values["train"], "seed": values["seed"]}, "train."),
            "cluster": build(ClusterConfig, values["cluster"], "cluster."),
        },
        "",
    )
    check_there("start", config.start)
    return config


def fit(source: str, out: str, config: FitConfig) -> dict[str, Any]:
    """Train and return what was made: the model's path, its last metrics, samples and steps."""
    store = Store(out)
    store.check_usable()
    data, labels = find(source)
    start = resolve(config.start)
    recipe = {
        "version": VERSION,
        "train": recipe_settings(config.train),
        "start": content_hash(start),
        "threads": config.cluster.group(GROUP).threads,
        "labels": labels,
    }
    recipe = json.loads(json.dumps(recipe))  # as it is read again
    with held(store):
        _claim(store, recipe)
        training = Training(config.train, config.start, 0, data, labels, MODEL)
        if not store.done(MODEL):
            check_format(start, "main")
        train(store, config.cluster, training, "train")
    return {
        "model": store.path(MODEL),
        "samples": len(data),
        "steps": config.train.steps,
        **last_metrics(store, MODEL),
    }


def last_metrics(store: Store, model: str) -> dict[str, Any]:
    """The metrics of the last step that made a model; none when it took no step."""
    lines = store.read(f"{model}/metrics.jsonl").splitlines()
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return {name: value for name, value in last.items() if name != "step"}


def _claim(store: Store, recipe: dict[str, Any]) -> None:
    """Raises:
    ValueError: the folder holds what another recipe makes.
    """
    if not store.exists(RECIPE):
        store.publish_json(RECIPE, recipe)
        return
    other = store.read_json(RECIPE)
    if other != recipe:
        changed = [
            f"{prefix}{key}"
            for prefix, new, old in (
                ("", recipe, other),
                ("train.", recipe["train"], other["train"]),
            )
            for key in sorted(new.keys() | old.keys())
            if key != "train" and new.get(key) != old.get(key)
        ]
        raise ValueError(
            f"{store.url}: made with other {', '.join(changed)}; give another folder, or remove this one"
        )
