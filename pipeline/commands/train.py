"""`fld train`, `fld study` and `fld export-backbone`: train models and take them out."""

from __future__ import annotations

import argparse
import sys
from importlib import resources

from pipeline.commands.group import CommandGroup, Output, add_json, add_overrides
from pipeline.storage.json_types import Json


def add_commands(group: CommandGroup) -> None:
    """Register the commands."""
    command = group.add("train", "one training run on any round; the same command resumes")
    command.add_argument(
        "source", metavar="ROUND", help="WORK, WORK/rounds/NN-.., or a folder of a round's shards"
    )
    command.add_argument(
        "out", metavar="OUT", help="any fsspec URL; OUT/model loads by from_pretrained"
    )
    add_overrides(
        command, "train=base start=DIR train.batch_size=64 cluster.groups.train.actors=[1,4] ..."
    )
    add_json(command)
    command.set_defaults(command=train)

    names = _study_names()
    command = group.add("study", "an experiment of the paper: a table; resumes as well")
    command.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    add_overrides(command, "work=DIR start=DIR data.scenes=500 train.learning_rate=5e-4 ...")
    add_json(command)
    command.set_defaults(command=study)

    command = group.add("export-backbone", "the vision tower alone, for transformers and timm")
    command.add_argument(
        "model", metavar="MODEL", help="a checkpoint: a folder, a hub name, or nano"
    )
    command.add_argument("out", metavar="OUT", help="a folder")
    add_json(command)
    command.set_defaults(command=export_backbone)


def train(args: argparse.Namespace) -> Output:
    """One training run by itself."""
    from pipeline.config.compose import compose
    from pipeline.config.effects import announce, typed_names
    from pipeline.training.standalone import TrainCommandConfig, parse, train_once
    from stages.hub import use_cache

    config = parse(compose(args.overrides, "training", TrainCommandConfig))
    use_cache(config.cluster.models)
    announce(config.without_effect(typed_names(args.overrides)))
    return _summary(train_once(args.source, args.out, config))


def study(args: argparse.Namespace) -> Output:
    """One of the paper's experiments."""
    from pipeline.benches.machine import machine
    from pipeline.config.compose import compose
    from pipeline.config.effects import announce, typed_names
    from pipeline.studies.config import StudyConfig, parse
    from pipeline.studies.run import run
    from pipeline.studies.table import failures, markdown

    config = parse(compose([f"study={args.name}", *args.overrides], "studies", StudyConfig))
    announce(config.without_effect(typed_names(args.overrides)))
    result = run(config)
    for line in failures(result):
        print(f"fld: error: {line}", file=sys.stderr)
    value = {**result, "machine": machine()}
    return Output(text=markdown(result), value=value, exit_code=int(bool(result["failed"])))


def export_backbone(args: argparse.Namespace) -> Output:
    """Save the vision tower of a model by itself."""
    from pathlib import Path

    from pipeline.config.contents import check_exists
    from stages import registry

    check_exists("MODEL", args.model)
    export = registry.resolve(registry.EXPORT_BACKBONE)
    return _summary(export(args.model, Path(args.out)))


def _study_names() -> list[str]:
    names = []
    for file in (resources.files("configs") / "study").iterdir():
        names.append(file.name.removesuffix(".yaml"))
    return sorted(names)


def _summary(result: Json) -> Output:
    lines = [f"{key}: {value}" for key, value in result.items()]
    return Output(text="\n".join(lines), value=result)
