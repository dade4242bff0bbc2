"""The samples of the report as values that its script reads and draws.

A label that is the same in several rounds is stored once; a round is a list of label numbers. So is
a mask that several labels share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pipeline.quality.doubt import MEASURE
from pipeline.quality.ranking import Ranked
from pipeline.refinement.changes import changes
from pipeline.report.embedded import light_data_uri
from pipeline.report.explain import describe_change
from pipeline.report.palette import PALETTE, QUAD_COLOUR, ink_on
from pipeline.report.sample_labels import Labels, Sample, Step, rounded
from pipeline.report.views import NAMES, PictureView, ReportData, RoundView
from pipeline.rows import Failure
from pipeline.schema import KINDS, Annotations
from pipeline.storage.arrow import to_dict
from pipeline.storage.json_types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """All samples, and what the script must know of the rounds."""

    values: Json
    """Everything but the images."""
    images: list[str]
    """The image of each sample as a data URI."""


def gallery(data: ReportData) -> Gallery:
    """What the gallery of a report shows."""
    samples = []
    images = []
    for view in data.pictures:
        sample = _sample(view, data.rounds)
        samples.append(_plain(sample))
        images.append(light_data_uri(view.image))
    names = [view.name for view in data.rounds]
    head = _number_of(data.head, names)
    places = {view.key: number for number, view in enumerate(data.pictures)}
    values = {
        "rounds": [_round(view, names, places) for view in data.rounds],
        "head": 0 if head is None else head,
        "kinds": {kind: NAMES[kind] for kind in KINDS},
        "palette": [_colour(colour) for colour in PALETTE],
        "quad": _colour(QUAD_COLOUR),
        "samples": samples,
        "images": data.images,
        "measure": MEASURE,
        "failures": data.failures,
        "failed": [{**asdict(view), "sample": places.get(view.key)} for view in data.failed],
    }
    return Gallery(values=values, images=images)


def _round(view: RoundView, names: Sequence[str], places: Mapping[str, int]) -> Json:
    """A round, with the number of the round that it began with and with its rankings."""
    return {
        "name": view.name,
        "status": view.status,
        "parent": _number_of(view.parent, names),
        "unsure": _ranking(view.least_sure, places),
        "changed": _ranking(view.most_changed, places),
    }


def _ranking(samples: Sequence[Ranked], places: Mapping[str, int]) -> list[Json]:
    """The ranked samples that the report shows, by their numbers, the highest value first."""
    ranking: list[Json] = []
    for ranked in samples:
        if ranked.key in places:
            ranking.append({"sample": places[ranked.key], "value": rounded(ranked.value)})
    return ranking


def _number_of(name: str | None, names: Sequence[str]) -> int | None:
    """The number of a round, None for no round."""
    if name not in names:
        return None
    return names.index(name)


def _colour(colour: str) -> Json:
    """A colour, and the ink of words on it."""
    return {
        "colour": colour,
        "ink": ink_on(colour),
    }


def _sample(view: PictureView, rounds: Sequence[RoundView]) -> Sample:
    """One sample; its objects have the same numbers in all rounds and in the truth."""
    sample = Sample(key=view.key, size=view.size)
    labels = Labels(sample)
    for of_round in rounds:
        annotations = view.rounds.get(of_round.name)
        sample.rounds.append(labels.add(annotations))
        steps = _steps(view.rounds, of_round)
        sample.steps.append(steps)
        failures = view.failures.get(of_round.name, ())
        lines = [_failure(failure) for failure in failures]
        sample.failures.append(lines)
    sample.rounds.append(labels.add(view.truth))
    return sample


def _failure(failure: Failure) -> str:
    """One line about a stage that could not do the sample."""
    line = f"{failure.stage}: {failure.reason}"
    if failure.detail:
        line += f": {failure.detail}"
    return line


def _steps(annotations: Mapping[str, Annotations], view: RoundView) -> list[Step]:
    """What a round changed in the labels that it began with."""
    before = None if view.parent is None else annotations.get(view.parent)
    after = annotations.get(view.name)
    if before is None or after is None:
        return []
    steps = []
    for change in changes(before, after):
        line = describe_change(change)
        steps.append(Step(what=change.what, line=line))
    return steps


def _plain(sample: Sample) -> Json:
    """A sample as JSON values, without the empty fields of its labels."""
    values = to_dict(sample)
    labels = []
    for label in values["labels"]:
        filled = {}
        for name, value in label.items():
            if value is not None:
                filled[name] = value
        labels.append(filled)
    values["labels"] = labels
    return values
