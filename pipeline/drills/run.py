"""Drills: a real run on a real cluster is disturbed, and the same command finishes it.

`scripts/drill [NAME ...] [--json]` starts a Ray cluster of several nodes on this machine and runs
each drill in a work folder of its own. The files at the end must equal, byte for byte, those of a
run that nothing has disturbed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.drills.cluster import started
from pipeline.drills.compare import difference
from pipeline.drills.faults import DRILLS, Drill, Skipped
from pipeline.drills.runs import Field, Said
from pipeline.errors import RunFailed
from pipeline.report.terminal import columns
from pipeline.storage.store import Store

MAX_FILES = 8
"""Files that differ which are named."""
MAX_TEXT = 110
"""Characters of what a run said that the table shows."""
UNDISTURBED = "undisturbed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a drill."""

    drill: str
    done: str
    """What was done to the run."""
    said: list[Said]
    """How each command ended."""
    equal: bool | None
    """Whether the files are right in the end; None if the drill was skipped."""
    differs: list[str]
    """The first files that differ, and the samples."""
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the drills; 0 if all that could be tried ended well."""
    parser = argparse.ArgumentParser(prog="scripts/drill", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(DRILLS)}")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in DRILLS]
    if unknown:
        parser.error(f"no drill {unknown[0]}; there are {', '.join(DRILLS)}")
    # The nodes shall end with this process, also when a scheduler ends it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcomes = []
    for outcome in run_drills(args.names or list(DRILLS)):
        print(f"{table([outcome])}\n", file=sys.stderr, flush=True)
        outcomes.append(outcome)
    if args.json:
        print(json.dumps({"drills": [asdict(outcome) for outcome in outcomes]}))
    else:
        print(table(outcomes))
    return int(any(outcome.equal is False for outcome in outcomes))


def run_drills(names: Sequence[str]) -> Iterator[Outcome]:
    """The outcome of each drill, after that of the undisturbed run."""
    # Ray's sockets allow paths of some hundred characters only.
    folder = Path(tempfile.mkdtemp(prefix="fld-drill-"))
    try:
        with started(folder) as cluster:
            undisturbed = Field(cluster, str(folder / UNDISTURBED))
            begun = time.monotonic()
            undisturbed.run()
            reference = undisturbed.store
            nothing = Drill("nothing", Field.run)
            yield _outcome(nothing, UNDISTURBED, undisturbed, begun, reference)
            for name in names:
                field = Field(cluster, str(folder / name))
                yield _tried(DRILLS[name], name, field, reference)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tried(drill: Drill, name: str, field: Field, reference: Store) -> Outcome:
    """The outcome of one drill."""
    begun = time.monotonic()
    try:
        with drill.prepared(field):
            drill.disturb(field)
            return _outcome(drill, name, field, begun, reference)
    except Skipped as reason:
        skipped = Said(0, f"skipped: {reason}")
        return Outcome(
            drill=name, done=drill.done, said=[skipped], equal=None, differs=[], seconds=0
        )
    except RunFailed as error:
        said = [*field.said, Said(1, str(error))]
        seconds = time.monotonic() - begun
        return Outcome(
            drill=name, done=drill.done, said=said, equal=False, differs=[], seconds=seconds
        )


def _outcome(drill: Drill, name: str, field: Field, begun: float, reference: Store) -> Outcome:
    """The outcome of a drill whose commands have ended."""
    seconds = time.monotonic() - begun
    found = difference(reference, field.store)
    is_right = drill.ends_well(found)
    files = () if is_right else found.files[:MAX_FILES]
    ended = bool(field.said) and field.said[-1].code == 0
    return Outcome(
        drill=name,
        done=drill.done,
        said=field.said,
        equal=ended and is_right,
        differs=[*files, *sorted(found.samples)],
        seconds=seconds,
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes for a person."""
    rows = [["drill", "equal bytes", "seconds"]]
    for outcome in outcomes:
        equal = {True: "yes", False: "NO", None: "-"}[outcome.equal]
        if outcome.equal and outcome.differs:
            equal = "yes, but for one sample"
        rows.append([outcome.drill, equal, f"{outcome.seconds:.0f}"])
    lines = [columns(rows)]
    for outcome in outcomes:
        lines.append(f"\n{outcome.drill}: {outcome.done}")
        for said in outcome.said:
            lines.append(f"  exit code {said.code}: {said.text[:MAX_TEXT]}")
        for differing in outcome.differs:
            lines.append(f"  differs: {differing}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
