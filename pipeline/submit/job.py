"""A run as a job for another machine: its settings, its name, and what the cluster must see."""

from __future__ import annotations

import copy
import dataclasses
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.effects import SUBMISSIONS
from pipeline.config.run import RunConfig
from pipeline.plan.recipe import fingerprint
from pipeline.storage.json_types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run that is sent to a cluster."""

    values: Json
    """The resolved settings, as plain values, without those of the submission."""
    config: RunConfig
    fingerprint: str
    """Digest of the settings: the same run has the same one."""
    keep_going: bool = False
    """The option `--keep-going` of `fld run`."""

    def name(self, attempt: int) -> str:
        """The name of an attempt to run the job."""
        return f"{_prefix(self.fingerprint)}{attempt}"

    def command(self, python: str, settings: str, *words: str) -> str:
        """The command that runs the job, for a shell. `settings` is the path of its settings."""
        options = ["--keep-going"] if self.keep_going else []
        arguments = ["-m", "pipeline.cli", "run", "--config", settings, *words, *options]
        # `python` may be several words, such as `uv run python`.
        return f"{python} {shlex.join(arguments)}"


def job_of(values: Json, config: RunConfig, keep_going: bool = False) -> Job:
    """Make the job of a run from its resolved settings."""
    cluster = dict(values["cluster"])
    for name in SUBMISSIONS:
        cluster.pop(name, None)
    work = config.work
    if _is_local(work):
        work = os.path.abspath(work)
    sent: Json = {**values, "cluster": cluster, "work": work}
    return Job(
        values=sent,
        config=dataclasses.replace(config, work=work),
        fingerprint=fingerprint(sent),
        keep_going=keep_going,
    )


def target(config: RunConfig) -> str:
    """Which kind of cluster a run is sent to: one of `SUBMISSIONS`.

    Raises:
        ValueError: the settings name none.
    """
    for name in SUBMISSIONS:
        if getattr(config.cluster, name) is not None:
            return name
    raise ValueError("cluster: nowhere to send the run; give cluster=ray, kuberay or slurm")


def settings_text(values: Json) -> str:
    """Settings as the YAML that `fld run --config` reads."""
    from omegaconf import OmegaConf

    text: str = OmegaConf.to_yaml(OmegaConf.create(dict(values)))
    return text


def next_attempt(of: str, names: Iterable[str]) -> int:
    """One more than the highest attempt among the names of jobs; `of` is a fingerprint."""
    prefix = re.escape(_prefix(of))
    pattern = re.compile(rf"{prefix}(\d+)")
    highest = 0
    for name in names:
        found = pattern.fullmatch(name)
        if found:
            number = int(found[1])
            highest = max(highest, number)
    return highest + 1


def local_paths(values: Json) -> dict[str, str]:
    """The settings that name a file or folder of this machine, by name; `work` is among them."""
    paths = {}
    for name, value in _texts(values, ""):
        is_path = os.path.isabs(value) and os.path.exists(value)
        if name == "work":
            is_path = _is_local(value)
        if is_path:
            paths[name] = value
    return paths


def warn_of_paths(paths: Mapping[str, str], where: str) -> list[str]:
    """The warning that other machines must see some paths, too; empty if there are none."""
    if not paths:
        return []
    named = ", ".join(f"{name}={path}" for name, path in paths.items())
    return [
        f"{named}: on this machine; every machine of {where} must see the same files under this "
        "name, as in a file system that they share; else give a URL such as s3://BUCKET/NAME"
    ]


def replaced(values: Json, changes: Mapping[str, str]) -> Json:
    """A copy of settings with other texts; `changes` are by name, such as `refine.start`."""
    changed = copy.deepcopy(dict(values))
    for name, text in changes.items():
        *above, key = name.split(".")
        place: Any = changed
        for part in above:
            place = place[_index(place, part)]
        place[_index(place, key)] = text
    return changed


def _index(place: object, part: str) -> str | int:
    """A part of a name as the key of a mapping or the number of an item of a list."""
    return int(part) if isinstance(place, list) else part


def _texts(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Every text among settings, with the name of its setting; `a.0` is the first of a list."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{name}.{number}")
    elif isinstance(value, str):
        yield name, value


def _is_local(url: str) -> bool:
    return "://" not in url


def _prefix(of: str) -> str:
    return f"fld-{of}-"
