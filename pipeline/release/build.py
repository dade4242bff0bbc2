"""`fld release build`: a release of one round, shard by shard on the engine.

The order: hashes of the images, duplicates among them, a survey of each shard, the decisions, the
files of each shard, and last the files about the whole release. All steps over shards publish a
manifest for each, so a killed build goes on where it was. `SHA256SUMS` is the last file, so its
presence marks a whole release; that is never written again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import yaml

from pipeline.config.effects import announce
from pipeline.config.run import RunConfig
from pipeline.execution.steps import Runner, Step
from pipeline.maintenance.dedup import HASHES, hash_images, hashes_folder
from pipeline.plan.recipe import recipe_settings
from pipeline.plan.shard_state import ShardState
from pipeline.release import facts as release_facts
from pipeline.release.card import card
from pipeline.release.checksums import checksum_lines
from pipeline.release.config import ReleaseConfig
from pipeline.release.croissant import croissant
from pipeline.release.facts import Checked, Facts
from pipeline.release.inputs import UserLists, check_precision, read_lists, released_round
from pipeline.release.lineage import signals_of
from pipeline.release.selection import Decisions, Selection
from pipeline.release.shards import (
    RELEASE,
    ROUND,
    ReleaseShard,
    ShardInputs,
    encode_decisions,
)
from pipeline.release.statistics import Counts, Totals, decoded
from pipeline.release.survey import SURVEY, SurveyInputs, SurveyShard, read_survey, survey_digest
from pipeline.storage import layout, layout_release
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import digest, json_bytes
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.store import Store
from stages.dedup import Duplicate, Hashed, duplicates

States = dict[str, ShardState]
GROUP = "release"
"""The group of `cluster.groups` whose resources the workers take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A finished release."""

    folder: str
    totals: Totals
    is_new: bool
    """False if it was there already."""


def build(store: Store, run: RunConfig, config: ReleaseConfig, runner: Runner) -> Built:
    """Make a release, or go on with one; the caller holds the lease.

    Raises:
        ValueError: a licence is missing, a version is already released with other content, or
            another mistake of the user.
    """
    return Build(store, run, config, runner).run()


class Build:
    """The steps of one build."""

    def __init__(self, store: Store, run: RunConfig, config: ReleaseConfig, runner: Runner) -> None:
        self.store = store
        self.config = config
        self.runner = runner
        self.folder = layout_release.release_folder(config.name, config.version)
        self.round = released_round(store, config)
        audit = release_facts.read_audit(store, self.round)
        check_precision(audit, config.min_precision.items())
        if not config.sources:
            raise ValueError(
                f"sources: no licence; set sources.{run.source.use}.licence to the licence of the "
                "images, such as CC-BY-4.0"
            )

    def run(self) -> Built:
        """All steps, or none if the release is there."""
        states = self._round_states()
        # The lists come first: a mistake in them shows before any work.
        lists = read_lists(self.config)
        found = self._duplicates(states)
        surveyed = self._surveyed(states, lists, found)
        selection = Selection(self.config)
        for shard in sorted(surveyed):
            selection.add(read_survey(self.store, self.folder, shard))
        decisions = selection.decide(found)
        first = min(states)
        inputs = ShardInputs(
            folder=self.folder,
            round=self.round,
            config=self.config,
            cuts=selection.cuts(),
            signals=signals_of(self.store, self.round, first),
        )
        wanted = {}
        for shard, state in states.items():
            wanted[shard] = inputs.digest(state, decisions.get(shard, {}))
        facts = self._facts(inputs, lists, selection, found, wanted)
        if self._is_finished(facts):
            name = layout.within(self.folder, layout_release.STATISTICS)
            totals = cast(Totals, self.store.read_json(name))
            return Built(folder=self.folder, totals=totals, is_new=False)
        self._publish_decisions(decisions)
        self._write_shards(states, inputs, wanted)
        return self._finish(facts, wanted)

    def _round_states(self) -> States:
        """The shards of the round.

        Raises:
            ValueError: the images have changed since the round was made.
        """
        images = self.store.done(IMAGES)
        done = self.store.done(self.round)
        states = {}
        for manifest in self.store.manifests(self.round):
            shard = manifest.shard
            if shard not in images or manifest.reads[IMAGES] != images[shard].output:
                raise ValueError(
                    f"{self.store.path(self.round)}: the images of {shard} have changed since; "
                    "`fld run` makes the round again"
                )
            states[shard] = ShardState({IMAGES: images[shard], ROUND: done[shard]})
        return states

    def _duplicates(self, states: States) -> list[Duplicate]:
        """The images of the round that repeat another of its images."""
        hashed = hash_images(self.store, self.runner, self.config.dedup, states)
        for shard, state in hashed.items():
            states[shard] = state
        settings = json.dumps(recipe_settings(self.config.dedup), sort_keys=True)
        outputs = [states[shard].output(HASHES) for shard in sorted(states)]
        name = layout_release.duplicates(self.folder, digest(settings, *outputs))
        if self.store.exists(name):
            return read_table(self.store, name, Duplicate)
        rows: list[Hashed] = []
        for shard in sorted(states):
            table = layout.hashes_table(hashes_folder(self.config.dedup), shard)
            rows += read_table(self.store, table, Hashed)
        found = duplicates(rows, self.config.dedup)
        publish_table(self.store, name, Duplicate, found)
        return found

    def _surveyed(self, states: States, lists: UserLists, found: Sequence[Duplicate]) -> States:
        """The states of all shards with their surveys."""
        inputs = SurveyInputs(
            folder=self.folder,
            config=self.config,
            originals=frozenset(duplicate.kept for duplicate in found),
            lists=lists,
        )
        mark = inputs.digest()
        wanted = {shard: survey_digest(mark, state) for shard, state in states.items()}
        folder = layout_release.survey_folder(self.folder)
        todo = self._with_done(states, folder, SURVEY, wanted)
        step = Step(GROUP, partial(SurveyShard, self.store.url, inputs), (SURVEY,))
        return self.runner.run("survey", [step], todo)

    def _write_shards(self, states: States, inputs: ShardInputs, wanted: Mapping[str, str]) -> None:
        folder = layout_release.build_folder(self.folder)
        todo = self._with_done(states, folder, RELEASE, wanted)
        step = Step(GROUP, partial(ReleaseShard, self.store.url, inputs), (RELEASE,))
        self.runner.run("shards", [step], todo)

    def _with_done(
        self, states: States, folder: str, name: str, wanted: Mapping[str, str]
    ) -> States:
        """The states with the node `name` where it is done on the inputs that are wanted.

        Manifests of other inputs are withdrawn.
        """
        done = self.store.done(folder)
        stale: dict[str, tuple[str, ...]] = {}
        result = dict(states)
        for shard, digests in done.items():
            if shard in states and digests.inputs == wanted[shard]:
                result[shard] = states[shard].with_(name, digests)
            else:
                stale[shard] = ()
        self.store.withdraw(folder, stale)
        return result

    def _publish_decisions(self, decisions: Decisions) -> None:
        """Write the decisions of each shard that has some, and remove those of an earlier try."""
        self.store.remove(layout_release.decisions_folder(self.folder))
        for shard, decided in decisions.items():
            name = layout_release.decisions(self.folder, shard)
            self.store.publish_json(name, encode_decisions(decided))

    def _facts(
        self,
        inputs: ShardInputs,
        lists: UserLists,
        selection: Selection,
        found: Sequence[Duplicate],
        wanted: Mapping[str, str],
    ) -> Facts:
        """What `release.json` says; warns of takedowns that fit no sample."""
        matched = {entry for entries in selection.taken_down.values() for entry in entries}
        unmatched = [entry for entry in lists.takedown.all() if entry not in matched]
        if unmatched:
            announce([f"takedown: {len(unmatched)} entries fit no sample, such as {unmatched[0]}"])
        kinds = Counter(duplicate.kind for duplicate in found)
        settings = recipe_settings(self.config.dedup)
        names = ("method", "distance", "mirrored", "model", "similarity")
        checks = Checked(
            duplicates={**{name: settings[name] for name in names}, **dict(sorted(kinds.items()))},
            evaluation=lists.evaluation_sets,
            takedown=len(lists.takedown),
            unmatched=len(unmatched),
        )
        about = json_bytes({"config": release_facts.settings_of(self.store, self.config)})
        shards = [f"{shard}={wanted[shard]}" for shard in sorted(wanted)]
        return release_facts.gathered(
            self.store,
            self.config,
            self.round,
            inputs.signals,
            checks,
            digest(about.decode(), *shards),
        )

    def _is_finished(self, facts: Facts) -> bool:
        """Whether the release is there.

        Raises:
            ValueError: it is there with other content.
        """
        if not self.store.exists(layout.within(self.folder, layout_release.CHECKSUMS)):
            return False
        name = layout.within(self.folder, layout_release.FACTS)
        if release_facts.read_facts(self.store.read(name)).inputs == facts.inputs:
            return True
        raise ValueError(
            f"version={self.config.version}: {self.store.path(self.folder)} was released from "
            "other labels or settings; give another version"
        )

    def _counts(self, shards: Iterable[str]) -> Counts:
        """The counts of all shards, added up in a fixed order, as `verify` adds them."""
        total = Counts()
        for shard in sorted(shards):
            parts = self.store.read_json(layout_release.counts(self.folder, shard))
            for split in sorted(parts):
                total.merge(decoded(parts[split]))
        return total

    def _finish(self, facts: Facts, shards: Iterable[str]) -> Built:
        """Write the files about the whole release, the checksums last."""
        totals = self._counts(shards).totals()
        if not totals["annotations"]["images"]:
            raise ValueError(f"{self.folder}: no sample is left to release; loosen the settings")
        settings = release_facts.settings_of(self.store, self.config)
        # As they are read from the file: JSON sorts the names.
        facts = release_facts.read_facts(json_bytes(facts.to_json()))
        contents = {
            layout_release.CARD: card(facts, totals).encode(),
            layout_release.CROISSANT: json_bytes(croissant(facts, totals)),
            layout_release.FACTS: json_bytes(facts.to_json()),
            layout_release.SETTINGS: yaml.safe_dump(settings, allow_unicode=True).encode(),
            layout_release.STATISTICS: json_bytes(totals),
        }
        sums = self._sums_of_shards()
        for name, data in contents.items():
            published = self.store.publish(layout.within(self.folder, name), data)
            sums[name] = published.sha256
        remove_strays(self.store, self.folder, sums)
        name = layout.within(self.folder, layout_release.CHECKSUMS)
        self.store.publish(name, checksum_lines(sums).encode())
        return Built(folder=self.folder, totals=totals, is_new=True)

    def _sums_of_shards(self) -> dict[str, str]:
        """The sha256 of the files that the workers wrote, by their names in the release."""
        sums = {}
        start = f"{self.folder}/"
        for manifest in self.store.manifests(layout_release.build_folder(self.folder)):
            for name, file in manifest.files.items():
                if name.startswith(start):
                    sums[name.removeprefix(start)] = file.sha256
        return sums


def remove_strays(store: Store, folder: str, names: Iterable[str]) -> None:
    """Remove the files of a release that are not named: an unfinished build left them."""
    wanted = set(names)
    for name in files_in(store, folder):
        if name not in wanted:
            store.remove(layout.within(folder, name))


def files_in(store: Store, folder: str) -> list[str]:
    """All files of a release by their names in it, sorted."""
    root = store.path(folder) if folder else store.root
    found = store.fs.find(root)
    return sorted(path.removeprefix(f"{root}/") for path in found)
