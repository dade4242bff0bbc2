"""`fld run` and `fld plan`: make labels, and see beforehand what that would take."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from typing import TYPE_CHECKING

from pipeline.commands.configuration import (
    Configuration,
    add_configuration,
    add_multirun,
    configuration,
    swept_configurations,
)
from pipeline.commands.group import CommandGroup, Output, add_json, add_keep_going
from pipeline.commands.models import warn_of_missing

if TYPE_CHECKING:
    from pipeline.config.run import RunConfig
    from pipeline.refinement.cost import Known, Size
    from pipeline.storage.store import Store


def add_commands(group: CommandGroup) -> None:
    """Register the commands."""
    command = group.add("run", "label, train, re-label; the same command resumes")
    add_configuration(command)
    add_keep_going(command)
    add_multirun(command, "one run after another for every combination of values a=1,2 b=x,y")
    command.set_defaults(command=run)

    command = group.add("plan", "what `fld run` would do, reuse and cost; runs nothing")
    add_configuration(command)
    add_json(command)
    command.add_argument(
        "--measured",
        metavar="WORK",
        help="take the speed of stages from the runs of this work folder, such as a pilot with"
        " source.limit=100 (that of the plan itself)",
    )
    command.add_argument(
        "--rate",
        metavar="STAGE=NUMBER",
        action="append",
        default=[],
        help="images per second that one actor of a stage does; may be repeated",
    )
    command.add_argument("--cpus", type=float, help="CPU cores of the cluster (this machine's)")
    command.add_argument("--gpus", type=float, help="GPUs of the cluster (this machine's)")
    command.set_defaults(command=plan)


def run(args: argparse.Namespace) -> Output:
    """The whole loop, from the source to the report."""
    _announce_unsent(args)
    if args.multirun:
        return _run_all(swept_configurations(args), args.keep_going)
    return Output(text=run_once(configuration(args), args.keep_going))


def _run_all(configurations: list[Configuration], keep_going: bool) -> Output:
    """One run after another; a line for each at the end. A run that fails stops no other."""
    from pipeline.errors import RunFailed

    lines = []
    failed = False
    for number, one in enumerate(configurations, start=1):
        work = one.config.work
        print(f"fld: run {number} of {len(configurations)}: {work}", file=sys.stderr)
        try:
            print(run_once(one, keep_going), file=sys.stderr)
            lines.append(f"{work}: done")
        except (ValueError, RunFailed, OSError) as error:
            message = " ".join(str(error).split())
            logging.getLogger("fld").warning("%s: %s", work, message)
            lines.append(f"{work}: failed: {message}")
            failed = True
    return Output(text="\n".join(lines), exit_code=int(failed))


def run_once(one: Configuration, keep_going: bool) -> str:
    """Run the loop and return the summary."""
    from pipeline.config import saved
    from pipeline.ingest import source_files
    from pipeline.ingest.assignment import assign_all
    from pipeline.refinement.executor import run_loop
    from pipeline.report.data import publish_report
    from pipeline.report.endings import failures_text
    from pipeline.storage import lease

    values, config = one.values, one.config
    listings = source_files.read_listings(config)
    names = source_files.names_of(listings)
    store = _usable_store(config.work)
    with lease.held(store):
        # Other sources in the same work folder are refused here, before anything is written.
        assign_all(store, config.all_sources, names, publish=False)
        saved.save(store, values)
        source_files.announce_changes(store, config.all_sources, listings)
        source_files.record_files(store, listings)
        run_loop(store, config, names, keep_going)
        summary = publish_report(store, config.experiment)
        failed = failures_text(store)
    return f"{summary}{failed}"


def plan(args: argparse.Namespace) -> Output:
    """What `fld run` with the same arguments would do."""
    from dataclasses import asdict

    from pipeline.config import effects
    from pipeline.ingest import source_files
    from pipeline.refinement.copies import cost_of_copies
    from pipeline.refinement.cost import Size, cost_of, images_of
    from pipeline.refinement.planning import plan_run
    from pipeline.report.plan_text import cost_text, plan_table

    _announce_unsent(args)
    one = configuration(args)
    config = one.config
    listings = source_files.read_listings(config)
    names = source_files.names_of(listings)
    store = _usable_store(config.work)
    stages = plan_run(store, config, names)
    source_files.announce_changes(store, config.all_sources, listings)
    size = Size()
    if any(stage.todo for stage in stages):
        size = _cluster_size(args, config)
        effects.announce(cost_of_copies(store, config, names))
    warn_of_missing(one.values, args.overrides)
    images = images_of(store, config, names)
    cost = cost_of(config, stages, _known(args, store), images, size)
    return Output(
        text=f"{plan_table(stages)}\n\n{cost_text(cost, size)}".rstrip(),
        value={"stages": [asdict(stage) for stage in stages], "cost": asdict(cost)},
    )


def _known(args: argparse.Namespace, store: Store) -> Known:
    """What is known of the speed and size of stages.

    Raises:
        ValueError: a rate is not STAGE=NUMBER.
    """
    from pipeline.config import saved
    from pipeline.refinement.cost import Known

    rates = {}
    for word in args.rate:
        stage, _, number = word.partition("=")
        try:
            rates[stage] = float(number)
        except ValueError:
            rates[stage] = 0.0
        if rates[stage] <= 0:
            raise ValueError(f"--rate {word}: give STAGE=IMAGES_PER_SECOND, such as detect=12.5")
    return Known.measured(saved.existing(args.measured) if args.measured else store, rates)


def _cluster_size(args: argparse.Namespace, config: RunConfig) -> Size:
    """The size of the cluster for which a plan is made.

    Raises:
        ValueError: it has no room for one actor of a group, so the run would be refused, too.
    """
    from pipeline.execution.machines import this_machine
    from pipeline.refinement.cost import Size
    from pipeline.submit.resources import needs

    cluster = config.cluster
    is_here = cluster.address is None and not (cluster.ray or cluster.kuberay or cluster.slurm)
    here = this_machine() if is_here else {}
    where = "this machine" if is_here and args.cpus is None and args.gpus is None else "it"
    size = Size(
        cpus=here.get("CPU", math.inf) if args.cpus is None else args.cpus,
        gpus=here.get("GPU", math.inf) if args.gpus is None else args.gpus,
    )
    for need in needs(config):
        for kind, wanted, has in (("CPU", need.cpus, size.cpus), ("GPU", need.gpus, size.gpus)):
            if wanted > has:
                raise ValueError(
                    f"cluster.groups.{need.name}: an actor wants {wanted:g} {kind}, {where} has "
                    f"{has:g}; lower it, or give the size of the cluster: --cpus N --gpus N"
                )
    return size


def _announce_unsent(args: argparse.Namespace) -> None:
    """Warn of settings that only `fld submit` reads."""
    from pipeline.config import effects

    effects.announce(effects.unsent(effects.typed_names(args.overrides)))


def _usable_store(url: str) -> Store:
    from pipeline.storage.store import Store

    store = Store(url)
    store.check_usable()
    return store
