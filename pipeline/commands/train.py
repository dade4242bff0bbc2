"""`fld train`, `fld study` and `fld export-backbone`: thin commands around training."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import resources
from typing import Any


def add(commands: Any) -> None:
    """Register the commands on `fld`'s subparsers."""
    command = commands.add_parser(
        "train", help="one training run on any round; the same command resumes"
    )
    command.add_argument(
        "source", metavar="ROUND", help="WORK, WORK/rounds/NN-.., or a folder of a round's shards"
    )
    command.add_argument(
        "out", metavar="OUT", help="any fsspec URL; OUT/model loads by from_pretrained"
    )
    _settings(
        command, "train=base start=DIR train.batch_size=64 cluster.groups.train.actors=[1,4] ..."
    )
    command.set_defaults(command=train)
    names = sorted(
        file.name.removesuffix(".yaml") for file in (resources.files("configs") / "study").iterdir()
    )
    command = commands.add_parser(
        "study", help="an experiment of the paper: a table; the same command resumes"
    )
    command.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    _settings(command, "work=DIR start=DIR data.scenes=500 train.learning_rate=5e-4 ...")
    command.set_defaults(command=study)
    command = commands.add_parser(
        "export-backbone", help="the vision tower alone, for transformers and timm"
    )
    command.add_argument(
        "model", metavar="MODEL", help="a checkpoint: a folder, a hub name, or nano"
    )
    command.add_argument("out", metavar="OUT", help="a folder")
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")
    command.set_defaults(command=export_backbone)


def train(args: argparse.Namespace) -> int:
    from pipeline.config.compose import compose
    from pipeline.training.standalone import parse, train_once

    config = parse(compose(args.overrides, "training"))
    _tell(train_once(args.source, args.out, config), args.json)
    return 0


def study(args: argparse.Namespace) -> int:
    from pipeline.benches.machine import machine
    from pipeline.config.compose import compose
    from pipeline.studies.config import parse
    from pipeline.studies.run import run
    from pipeline.studies.table import failures, markdown

    result = run(parse(compose([f"study={args.name}", *args.overrides], "studies")))
    print(json.dumps({**result, "machine": machine()}) if args.json else markdown(result))
    for line in failures(result):
        print(f"fld: error: {line}", file=sys.stderr)
    return 1 if result["failed"] else 0


def export_backbone(args: argparse.Namespace) -> int:
    from pathlib import Path

    from pipeline.config.parse import check_exists
    from stages import registry

    check_exists("MODEL", args.model)
    _tell(registry.resolve(registry.EXPORT_BACKBONE)(args.model, Path(args.out)), args.json)
    return 0


def _tell(made: dict[str, Any], as_json: bool) -> None:
    print(
        json.dumps(made) if as_json else "\n".join(f"{key}: {value}" for key, value in made.items())
    )


def _settings(command: Any, examples: str) -> None:
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=examples)
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")
