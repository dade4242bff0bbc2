"""`fld release build`: a release of one round, shard by shard on the engine.

The order: hashes of the images, duplicates among them, a survey of each shard, the decisions, the
files of each shard, and last the files about the whole release. All steps over shards publish a
manifest for each, so a killed build goes on where it was. `SHA256SUMS` is the last file, so its
presence marks a whole release; that is never written again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.config.effects import announce
from pipeline.config.run import RunConfig
from pipeline.execution.steps import Runner, Step
from pipeline.maintenance.dedup import HASHES, hash_images, read_hashes
from pipeline.plan.recipe import recipe_settings
from pipeline.plan.shard_state import ShardState
from pipeline.release import facts as release_facts
from pipeline.release.config import ReleaseConfig
from pipeline.release.facts import Checked, Facts
from pipeline.release.finish import Finish
from pipeline.release.inputs import UserLists, check_precision, read_lists, released_round
from pipeline.release.lineage import signals_of
from pipeline.release.notes import ROUND
from pipeline.release.safety import ListFact, Safety, never_blurred
from pipeline.release.selection import Decisions, Selection
from pipeline.release.shard_inputs import RELEASE, ShardInputs, encode_decisions
from pipeline.release.shards import ReleaseShard
from pipeline.release.statistics import Totals
from pipeline.release.survey import SURVEY, SurveyInputs, SurveyShard, read_survey, survey_digest
from pipeline.release.terms import with_licences
from pipeline.storage import layout_release
from pipeline.storage.layout import IMAGES
from pipeline.storage.lists import digest_of, read_entries
from pipeline.storage.manifest import digest, json_bytes
from pipeline.storage.parquet import publish_table, read_table
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store
from stages.dedup import Duplicate, duplicates

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
    return Build(
        store,
        run,
        config,
        runner,
    ).run()


class Build:
    """The steps of one build."""

    def __init__(self, store: Store, run: RunConfig, config: ReleaseConfig, runner: Runner) -> None:
        self.store = store
        self.config = with_licences(config, run, read_sources(store))
        self.runner = runner
        self.refused = [path for source in run.all_sources.values() for path in source.refuse]
        self.folder = layout_release.release_folder(config.name, config.version)
        self.round = released_round(store, config)
        audit = release_facts.read_audit(store, self.round)
        check_precision(audit, config.min_precision.items())

    def run(self) -> Built:
        """All steps, or none if the release is there."""
        states = self._round_states()
        # The lists come first: a mistake in them shows before any work.
        lists = read_lists(self.config, self.refused)
        found = self._duplicates(states)
        selection = self._selection(states, lists, found)
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
        facts = self._facts(
            inputs,
            lists,
            selection,
            found,
            wanted,
        )
        finish = Finish(
            self.store,
            self.config,
            self.folder,
            facts,
        )
        if finish.is_done():
            return Built(folder=self.folder, totals=finish.totals(), is_new=False)
        self._publish_decisions(decisions)
        self._write_shards(states, inputs, wanted)
        totals = finish.run(sorted(wanted))
        announce(never_blurred(self.config.blur, totals))
        return Built(folder=self.folder, totals=totals, is_new=True)

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
                    f"{self.store.shown(self.round)}: the images of {shard} have changed since; "
                    "`fld run` makes the round again"
                )
            states[shard] = ShardState({IMAGES: images[shard].output, ROUND: done[shard].output})
        return states

    def _duplicates(self, states: States) -> list[Duplicate]:
        """The images of the round that repeat another of its images."""
        hashed = hash_images(
            self.store,
            self.runner,
            self.config.dedup,
            states,
        )
        for shard, state in hashed.items():
            states[shard] = state
        settings = json.dumps(recipe_settings(self.config.dedup), sort_keys=True)
        outputs = [states[shard].output(HASHES) for shard in sorted(states)]
        name = layout_release.duplicates(self.folder, digest(settings, *outputs))
        if self.store.exists(name):
            return read_table(self.store, name, Duplicate)
        hashes = read_hashes(self.store, self.config.dedup, states)
        found = duplicates(hashes, self.config.dedup)
        publish_table(
            self.store,
            name,
            Duplicate,
            found,
        )
        return found

    def _selection(
        self,
        states: States,
        lists: UserLists,
        found: Sequence[Duplicate],
    ) -> Selection:
        """What the surveys of all shards say together."""
        selection = Selection(self.config)
        surveyed = self._surveyed(states, lists, found)
        for shard in sorted(surveyed):
            survey = read_survey(self.store, self.folder, shard)
            selection.add(survey)
        selection.check_scores()
        return selection

    def _surveyed(self, states: States, lists: UserLists, found: Sequence[Duplicate]) -> States:
        """The states of all shards with their surveys."""
        inputs = SurveyInputs(
            folder=self.folder,
            round=self.round,
            config=self.config,
            originals=frozenset(duplicate.kept for duplicate in found),
            lists=lists,
        )
        mark = inputs.digest()
        wanted = {shard: survey_digest(mark, state) for shard, state in states.items()}
        folder = layout_release.survey_folder(self.folder)
        todo = self._with_done(
            states,
            folder,
            SURVEY,
            wanted,
        )
        step = Step(GROUP, partial(SurveyShard, self.store.url, inputs), (SURVEY,))
        return self.runner.run("survey", [step], todo)

    def _write_shards(self, states: States, inputs: ShardInputs, wanted: Mapping[str, str]) -> None:
        folder = layout_release.build_folder(self.folder)
        todo = self._with_done(
            states,
            folder,
            RELEASE,
            wanted,
        )
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
        # What `source.refuse` names is refused at ingest, so it is no news that it fits none.
        typed = set(read_entries("takedown", self.config.takedown).all())
        missed = [entry for entry in unmatched if entry in typed]
        if missed:
            announce([f"takedown: {len(missed)} entries fit no sample, such as {missed[0]}"])
        kinds = Counter(duplicate.kind for duplicate in found)
        settings = recipe_settings(self.config.dedup)
        names = ("method", "distance", "mirrored", "model", "similarity")
        checks = Checked(
            duplicates={**{name: settings[name] for name in names}, **dict(sorted(kinds.items()))},
            evaluation=lists.evaluation_sets,
            takedown=len(lists.takedown),
            unmatched=len(unmatched),
            safety=self._safety(selection),
        )
        settings = release_facts.settings_of(self.store, self.config, self.round)
        about = json_bytes({"config": settings})
        shards = [f"{shard}={wanted[shard]}" for shard in sorted(wanted)]
        return release_facts.gathered(
            self.store,
            self.config,
            self.round,
            inputs.signals,
            checks,
            digest(about.decode(), *shards),
        )

    def _safety(self, selection: Selection) -> Safety:
        """What the images and texts are checked for."""
        config = self.config
        lists = []
        for path in (*config.takedown, *self.refused):
            lists.append(
                ListFact(
                    name=path.rpartition("/")[2],
                    sha256=digest_of(path),
                    entries=len(read_entries("takedown", [path])),
                )
            )
        return Safety(
            lists=lists,
            notes=[selection.notes[maker] for maker in sorted(selection.notes)],
            exclude=dict(config.exclude),
            blur=dict(config.blur),
            personal_data=config.personal_data,
            phone_regions=list(config.phone_regions),
        )
