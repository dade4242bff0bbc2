"""`fld train`: one training run by itself, on any round or folder of a round's shards.

OUT/model is a folder for `from_pretrained`, with the metrics of each step in metrics.jsonl.
OUT/train.json is the recipe. The same command resumes, with any number of workers. Other data or
other settings need another folder.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pipeline.config.contents import check_exists
from pipeline.config.effects import UNUSED_WORKERS, own, typed_groups, unused_groups
from pipeline.config.models import check_start
from pipeline.config.parse import check_no_seed
from pipeline.config.run import ClusterConfig
from pipeline.config.validation import build
from pipeline.plan.recipe import content_hash, recipe_settings
from pipeline.storage import layout, layout_training
from pipeline.storage.json_types import Json
from pipeline.storage.lease import held
from pipeline.storage.store import Store
from pipeline.training.find import find_training_set
from pipeline.training.run import GROUP, Training, train
from stages.florence.config import VERSION, TrainConfig
from stages.florence.model import check_format, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainCommandConfig:
    """All settings of `fld train` (`configs/training.yaml`)."""

    start: str
    """Checkpoint to start from: a size in this package, a folder or a hub name."""
    seed: int
    """Seed of everything random in the training."""
    train: TrainConfig
    """The schedule and everything else that changes the model."""
    cluster: ClusterConfig
    """Where the workers run; group `train` sets their number and resources."""

    def without_effect(self, typed: Collection[str] = ()) -> Iterator[str]:
        """A line for each setting without effect; `typed` are names that a user typed."""
        yield from own(self.train, "train.")
        yield from unused_groups(self.cluster, [GROUP], typed_groups(typed))
        if "cluster.workers" in typed:
            yield UNUSED_WORKERS


def parse(values: Json) -> TrainCommandConfig:
    """Build and check the settings from the plain values that hydra composed.

    Raises:
        ValueError: a setting is wrong; one line with the key, the value and what to change.
    """
    check_no_seed(values["train"], "train.")
    parts = {
        "train": build(TrainConfig, {**values["train"], "seed": values["seed"]}, "train."),
        "cluster": build(ClusterConfig, values["cluster"], "cluster."),
    }
    config: TrainCommandConfig = build(TrainCommandConfig, {**values, **parts}, "")
    check_exists("start", config.start)
    return config


def train_once(source: str, out: str, config: TrainCommandConfig) -> Json:
    """Train on the samples at `source`; return the model's path, sizes and last metrics.

    Raises:
        ValueError: `source` holds no labels, `out` was made with other settings, or `start` is no
            Florence-2.
        WorkerFailed: a worker failed more often than it is restarted.
    """
    store = Store(out)
    store.check_usable()
    data, labels = find_training_set(source)
    start = resolve(config.start)
    recipe = {
        "version": VERSION,
        "train": recipe_settings(config.train),
        "start": content_hash(start),
        "threads": config.cluster.group(GROUP).threads,
        "labels": labels,
    }
    with held(store):
        _claim(store, recipe)
        training = Training(
            config.train, config.start, 0, data, labels, layout_training.TRAIN_MODEL
        )
        if not store.done(layout_training.TRAIN_MODEL):
            check_start("start", config.start, config.train.stages, config.train)
            check_format(start, "main")
        train(store, config.cluster, training, "train")
    return {
        "model": store.path(layout_training.TRAIN_MODEL),
        "samples": len(data),
        "steps": config.train.steps,
        **last_metrics(store, layout_training.TRAIN_MODEL),
    }


def last_metrics(store: Store, model: str) -> Json:
    """Return the metrics of the last step that made a model; empty when it took no step."""
    lines = store.read(layout.model_metrics(model)).splitlines()
    if not lines:
        return {}
    metrics: Json = json.loads(lines[-1])
    metrics.pop("step", None)
    return metrics


def _claim(store: Store, recipe: Json) -> None:
    """Write the recipe to the folder, or check that it is the one that was written before.

    Raises:
        ValueError: the folder holds the result of another recipe.
    """
    if not store.exists(layout_training.TRAIN_RECIPE):
        store.publish_json(layout_training.TRAIN_RECIPE, recipe)
        return
    before = store.read_json(layout_training.TRAIN_RECIPE)
    # JSON has no tuples: compare what is written with what would be written.
    now = json.loads(json.dumps(recipe))
    if now != before:
        changed = _changed_keys(now, before, "")
        changed += _changed_keys(now["train"], before["train"], "train.")
        raise ValueError(
            f"{store.url}: made with other {', '.join(changed)}; "
            "give another folder, or remove this one"
        )


def _changed_keys(new: Json, old: Json, prefix: str) -> list[str]:
    """Return the keys whose values differ; `train` is compared by its own keys."""
    changed = []
    keys = new.keys() | old.keys()
    for key in sorted(keys - {"train"}):
        if new.get(key) != old.get(key):
            changed.append(f"{prefix}{key}")
    return changed
