"""The round's model looks again: at the mirrored images.

In: images and the kept annotations of the round before, as `stages.florence.refine` sees them. Out,
for each sample in the model's fold:

(a) What the model finds on the mirrored image, asked and decoded as in the first look: texts,
    regions, and phrases of the shown texts. The source is `mirrored`; boxes are in the coordinates
    of the image as it is stored. A label that both looks give is more often right than another.
(b) Of held-out samples also decoys: the shown regions at places where they are not. Each keeps its
    box while the image is mirrored, and `support` is how far the model believes it there. The
    source is `decoy`, and the old region is its parent. A region whose box lies on any mirrored one
    is left out: its label may be true there. So the supports of decoys are those of wrong labels.
    The target-decoy method of proteomics: Elias and Gygi, 2007, doi:10.1038/nmeth1019.
(c) An empty text of the source `looked`. Without it, a look that finds nothing could not be told
    from one that has failed.

No image gives text regions: words cannot be read in a mirror. If the label of a shown region would
become wrong in a mirror (`stages.florence.augment`), the sample gives nothing. Labels that the
model finds and that name a side are left out. Nothing of this enters a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pipeline.schema import Annotation, Annotations, Region, Text
from stages.base import Batch, Result, Sample, fold_of, held_out
from stages.florence.augment import (
    mirror_boxed,
    mirrored,
    names_side,
    region_words,
    true_in_mirror,
)
from stages.florence.refine import Refine
from stages.florence.refine_config import RefineConfig
from stages.florence.revisions import OCR
from stages.florence.unreviewed import as_if_unreviewed, with_reviewed_dropped
from stages.geometry import iou

MIRRORED = "mirrored"
"""The source of what the model finds on the mirrored image."""
DECOY = "decoy"
"""The source of old regions at places where they are not."""
LOOKED = "looked"
"""The source of an empty text: the model has looked, whether or not it found anything."""
WITNESSED = (MIRRORED, DECOY, LOOKED)
"""The sources of all that the stage gives."""
TRUE_PLACE = 0.3
"""IoU with a mirrored region from which a decoy may be true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessConfig(RefineConfig):
    """What the model is asked, as in its first look, and of which samples decoys are judged."""

    held_out: float
    """Share of the samples that are held out of every training (`refine.gate.held_out`)."""


class Witness:
    """The stage."""

    version: ClassVar[int] = 3
    reads_images: ClassVar[bool] = True

    def __init__(self, config: WitnessConfig) -> None:
        self.config = config
        tasks = tuple(token for token in config.tasks if token != OCR)
        self.refine = Refine(replace(config, tasks=tasks))

    @staticmethod
    def check(config: WitnessConfig) -> None:
        """See `stages.base.Stage`."""
        Refine.check(config)

    def __call__(self, batch: Batch) -> list[Result]:
        """Return what the model says of each mirrored sample; of the others empty annotations."""
        results: list[Result] = [Annotations() for _ in batch]
        numbers = []
        views = []
        for i, sample in enumerate(batch):
            if fold_of(sample.key, self.config.folds) != self.config.fold:
                continue
            view = _view(sample, held_out(sample.key, self.config.held_out))
            if view is not None:
                numbers.append(i)
                views.append(view)
        for i, said in zip(numbers, self.refine(views), strict=True):
            if isinstance(said, Annotations):
                found = _found(said, batch[i].size[0])
                results[i] = with_reviewed_dropped(found, batch[i].annotations)
            else:
                results[i] = said
        return results


def _view(sample: Sample, with_decoys: bool) -> Sample | None:
    """The mirrored image with its shown texts and perhaps decoys; None if it cannot be mirrored.

    Shown phrases and text regions are left out, as nothing is said of them.
    """
    shown = _shown(sample.annotations)
    straight = replace(sample, annotations=shown)
    view = mirrored(straight)
    if view is straight:
        return None
    decoys = decoy_regions(shown.regions, view.annotations.regions) if with_decoys else []
    return replace(view, annotations=Annotations(texts=view.annotations.texts, regions=decoys))


def shown_in_mirror(annotations: Annotations) -> Annotations | None:
    """The labels of a sample that are shown with its mirrored image, at their places in the image
    as it is stored; None if it cannot be mirrored."""
    return true_in_mirror(_shown(annotations))


def stays_true(found: Annotation) -> bool:
    """Whether what a model finds on a mirrored image may be said of the image as it is stored."""
    if isinstance(found, Text):
        return not names_side(found.text)
    if isinstance(found, Region):
        return not names_side(region_words(found))
    return True


def _shown(annotations: Annotations) -> Annotations:
    return as_if_unreviewed(annotations).kept()


def decoy_regions(shown: Sequence[Region], true: Sequence[Region]) -> list[Region]:
    """The shown regions whose boxes lie on none of the true ones, without human ones.

    `true` are the shown regions at their places in the mirrored image.
    """
    decoys = []
    for region in shown:
        may_be_true = any(iou(region.box, other.box) >= TRUE_PLACE for other in true)
        if not region.locked and not may_be_true:
            decoys.append(region)
    return decoys


def _found(said: Annotations, width: int) -> Annotations:
    """What the stage gives, of what the first look's stage says of a view.

    There, decoys have the ids of the shown regions, and what the model finds has none. `width` is
    that of the image in pixels.
    """
    new = said.where(lambda annotation: not annotation.id)
    texts = [replace(text, source=MIRRORED) for text in new.texts if stays_true(text)]
    regions: list[Region] = []
    for region in mirror_boxed(new.regions, width):
        if stays_true(region):
            regions.append(replace(region, source=MIRRORED))
    regions += [_decoy(region) for region in said.regions if region.id]
    triplets = mirror_boxed(new.triplets, width)
    texts.append(Text(granularity="brief", text="", source=LOOKED))
    return Annotations(
        texts=texts,
        regions=regions,
        triplets=[replace(triplet, source=MIRRORED) for triplet in triplets],
    )


def _decoy(judged: Region) -> Region:
    """A shown region, judged at a place where it is not, as a new annotation."""
    return Region(
        source=DECOY,
        parents=[judged.id],
        support=judged.support,
        box=judged.box,
        phrase=judged.phrase,
        brief=judged.brief,
        brief_kind=judged.brief_kind,
    )
