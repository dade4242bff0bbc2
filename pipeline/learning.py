"""`fld train`, `fld study` and `fld export-backbone`: thin commands around training."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Register the commands on `fld`'s subparsers."""
    command = commands.add_parser("train", help="one training run on any round; the same command resumes")
    command.add_argument("source", metavar="ROUND", help="WORK, WORK/rounds/NN-.., or a folder of a round's shards")
    command.add_argument("out", metavar="OUT", help="any fsspec URL; OUT/model loads by from_pretrained")
    _settings(command, "train=base start=DIR train.batch_size=64 cluster.groups.train.actors=[1,4] ...")
    command.set_defaults(command=train)


def train(args: argparse.Namespace) -> int:
    from pipeline.config import compose
    from pipeline.fit import fit, parse

    made = fit(args.source, args.out, parse(compose(args.overrides, "training")))
    print(json.dumps(made) if args.json else "\n".join(f"{key}: {value}" for key, value in made.items()))
    return 0


def _settings(command: Any, examples: str) -> None:
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=examples)
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")
