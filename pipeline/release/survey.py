"""What the driver must know of a shard to select its samples, made by the workers.

In: the images of a shard and their hashes. Out: one small JSON file for each shard. It names only
the samples that are not decided by their key alone, so the driver's memory does not grow with the
others.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from pipeline.maintenance.dedup import HASHES, hashes_folder
from pipeline.plan.recipe import recipe_settings
from pipeline.plan.shard_state import ShardState
from pipeline.release.config import ReleaseConfig, SourceTerms
from pipeline.release.inputs import UserLists
from pipeline.release.notes import ROUND, read_notes
from pipeline.release.safety import Note
from pipeline.release.split import place_of
from pipeline.rows import ImageRow
from pipeline.storage import layout_dedup, layout_release
from pipeline.storage.arrow import from_dict
from pipeline.storage.images import read_images
from pipeline.storage.layout import IMAGES
from pipeline.storage.lists import Entries, entries_for, references
from pipeline.storage.manifest import Manifest, count_samples, digest
from pipeline.storage.parquet import read_table
from pipeline.storage.sources import read_sources
from pipeline.storage.store import Store
from stages.dedup import Hashed, repeats_of

SURVEY = "survey"
"""How the survey is called in the state of a shard."""
VERSION = 2
"""Raise it when the same inputs give another survey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the driver must know of a shard."""

    shard: str
    places: dict[str, dict[int, int]] = field(default_factory=dict)
    """By source: how many samples have each place (`pipeline.release.split`)."""
    unlicensed: str = ""
    """The name of the first sample that belongs to no source; empty if there is none."""
    originals: dict[str, str] = field(default_factory=dict)
    """The images that others repeat: the source by the key."""
    listed: dict[str, str] = field(default_factory=dict)
    """The split of the samples that a list of the user names, by key."""
    taken_down: dict[str, list[str]] = field(default_factory=dict)
    """The entries of the takedown lists that name a sample or a copy of it, by key."""
    evaluation: dict[str, str] = field(default_factory=dict)
    """The evaluation image that a sample repeats, by key."""
    excluded: dict[str, str] = field(default_factory=dict)
    """Why the scores of an image stand against it, by key."""
    notes: list[Note] = field(default_factory=list)
    """What stages have noted for review, one for each maker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyInputs:
    """What is the same for all shards."""

    folder: str
    """The folder of the release."""
    round: str
    """The folder of the round."""
    config: ReleaseConfig
    originals: frozenset[str]
    """The keys of the images that others repeat."""
    lists: UserLists

    def digest(self) -> str:
        """The digest of everything that decides a survey, but for the shard."""
        config = self.config
        recipe = {
            "version": VERSION,
            "seed": config.seed,
            "sources": [[name, terms.names] for name, terms in config.sources.items()],
            "dedup": recipe_settings(config.dedup),
            "lists": self.lists.digest(),
            "originals": sorted(self.originals),
            "exclude": dict(config.exclude),
        }
        return digest(json.dumps(recipe, sort_keys=True))


class SurveyShard:
    """Surveys one shard per call; knows no Ray."""

    def __init__(self, url: str, inputs: SurveyInputs) -> None:
        self.store = Store(url)
        self.inputs = inputs
        # A sha256 in a list is that of the stored or of the original file, which the rows of the
        # images tell. So these are the perceptual hashes.
        self._taken_down = references(Entries(phashes=inputs.lists.takedown.phashes))
        self._digest = inputs.digest()
        self._sources = read_sources(self.store)

    def __call__(self, shard: str, state: ShardState) -> ShardState:
        """Survey a shard; returns its state with the survey added."""
        rows = read_images(self.store, shard)
        survey = self._survey(shard, rows)
        name = layout_release.survey(self.inputs.folder, shard)
        manifest = Manifest(
            shard=shard,
            inputs=survey_digest(self._digest, state),
            files={name: self.store.publish_json(name, asdict(survey))},
            samples=count_samples(len(rows), [None] * len(rows)),
            reads={IMAGES: state.output(IMAGES), ROUND: state.output(ROUND)},
        )
        folder = layout_release.survey_folder(self.inputs.folder)
        self.store.publish_manifest(folder, manifest)
        return state.with_(SURVEY, manifest.digests)

    def _survey(self, shard: str, rows: Sequence[ImageRow]) -> Survey:
        config = self.inputs.config
        noted = read_notes(self.store, self.inputs.round, shard)
        notes = [noted.notes[maker] for maker in sorted(noted.notes)]
        survey = Survey(shard=shard, notes=notes)
        self._add_repeats(survey)
        for row in rows:
            source = source_of(self._sources.full_name(shard, row.name), config.sources)
            if source is None:
                return replace(survey, unlicensed=row.name)
            places = survey.places.setdefault(source, {})
            place = place_of(row.key, config.seed)
            places[place] = places.get(place, 0) + 1
            if row.key in self.inputs.originals:
                survey.originals[row.key] = source
            self._add_listed(survey, row)
            excluded = noted.excluded(config.exclude, row.key)
            if excluded:
                survey.excluded[row.key] = excluded
        return survey

    def _add_listed(self, survey: Survey, row: ImageRow) -> None:
        """Note whether a list names a sample."""
        lists = self.inputs.lists
        for split, entries in lists.splits.items():
            if entries_for(row, entries):
                survey.listed.setdefault(row.key, split)
        named = entries_for(row, lists.takedown)
        if row.key in lists.urls:
            named.append(lists.urls[row.key])
        if named:
            survey.taken_down.setdefault(row.key, []).extend(named)

    def _add_repeats(self, survey: Survey) -> None:
        """Note the samples of a shard that repeat an evaluation image or one that is taken down."""
        config = self.inputs.config.dedup
        table = layout_dedup.hashes_table(hashes_folder(config), survey.shard)
        rows: list[Hashed] = read_table(self.store, table, Hashed)
        if self._taken_down:
            for repeat in repeats_of(rows, self._taken_down, config):
                survey.taken_down[repeat.key] = [repeat.kept]
        if self.inputs.lists.evaluation:
            for repeat in repeats_of(rows, self.inputs.lists.evaluation, config):
                survey.evaluation[repeat.key] = repeat.kept


def source_of(name: str, sources: Mapping[str, SourceTerms]) -> str | None:
    """The terms that a sample is under by its `full_name`, None if there are none."""
    for source, terms in sources.items():
        if fnmatch.fnmatchcase(name, terms.names):
            return source
    return None


def survey_digest(inputs: str, state: ShardState) -> str:
    """The digest of what the survey of a shard reads; `inputs` is that of `SurveyInputs`."""
    return digest(
        inputs,
        state.output(IMAGES),
        state.output(HASHES),
        state.output(ROUND),
    )


def read_survey(
    store: Store,
    folder: str,
    shard: str,
) -> Survey:
    """The survey of a shard."""
    value = store.read_json(layout_release.survey(folder, shard))
    places = {}
    for source, counts in value.pop("places").items():
        places[source] = {int(place): count for place, count in counts.items()}
    notes = [from_dict(Note, note) for note in value.pop("notes")]
    return Survey(**value, places=places, notes=notes)
