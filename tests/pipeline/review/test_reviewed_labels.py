"""What a review makes of the labels of a sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.execution.provenance import result_row
from pipeline.plan import graph
from pipeline.quality.machine_labels import machine_records
from pipeline.quality.reviewed import DELETED, REVIEWED, Origin, marks, with_review
from pipeline.review.labels import reviewed_sample
from pipeline.schema import CROWD, HUMAN, Annotations, Mask, Text
from stages.base import Sample
from tests.pipeline.review.labelled import WHO, run_config
from tests.pipeline.review.labels import record_of, region


def test_machines_add_nothing_to_a_reviewed_group(top: Path) -> None:
    node = graph.round_zero(run_config(top))[0]
    sample = Sample(key="a", size=(50, 40), annotations=marks(["regions"], WHO))
    text = Text(granularity="brief", text="A dog.")
    said = Annotations(regions=[region("", source="")], texts=[text])
    row = result_row(node, sample, said)
    assert [each.dropped for each in row.annotations.regions] == [REVIEWED]
    assert [each.dropped for each in row.annotations.texts] == [None]
    # To measure machines as if nobody had labelled, they are kept.
    record = record_of("a", *row.annotations.regions, *sample.annotations.regions)
    (measured,) = machine_records([record], {})
    assert [each.dropped for each in measured.annotations.regions] == [None]


def test_the_merge_sees_what_a_model_says_of_a_reviewed_group_and_cannot_add_it(
    top: Path,
) -> None:
    round_zero = graph.round_zero(run_config(top))
    head = round_zero[-1]
    model = graph.make_node(round_zero[0].entry, 1, [head], run_config(top).cluster)
    merge = graph.make_node(round_zero[0].entry, 1, [head, model], run_config(top).cluster)
    labels = marks(["regions"], WHO)
    sample = Sample(key="a", size=(50, 40), round=1, annotations=labels)
    found = result_row(model, sample, Annotations(regions=[region("", source="")]))
    assert [each.dropped for each in found.annotations.regions] == [None]
    sample = replace(sample, annotations=labels.overlaid(found.annotations))
    sure = [replace(each, confidence=0.9) for each in found.annotations.regions]
    merged = result_row(merge, sample, Annotations(regions=sure))
    assert [each.dropped for each in merged.annotations.regions] == [REVIEWED]


def test_a_review_replaces_the_labels_of_the_source_but_not_its_crowds() -> None:
    crowd = region("human.regions.9", source=HUMAN, dropped=CROWD)
    given = Annotations(regions=[region("human.regions.1", source=HUMAN), crowd])
    new = Origin("human.regions.new-1", WHO).of(region(""))
    review = marks(["regions"], WHO)
    review.regions.append(new)
    labels = with_review(given, review)
    assert [each for each in labels.regions if not each.dropped] == [new]
    assert crowd in labels.regions
    assert with_review(labels, review).regions == labels.regions


def test_a_renamed_box_keeps_its_mask_and_a_moved_one_loses_it() -> None:
    from pipeline.review.said import Answer, SaidBox

    mask = Mask(size=(40, 50), counts="x")
    old = [
        region("0.d.1", mask=mask, brief="a dog"),
        region("0.d.2", box=(20, 20, 30, 30), mask=mask),
        region("0.d.3", box=(5, 5, 30, 30), mask=mask, brief="a dog"),
        region("0.d.4", box=(6, 6, 20, 20)),
    ]
    boxes = [
        SaidBox(id="other", box=(0.2, 0, 10.3, 10), phrase="dog"),
        SaidBox(id="0.d.2", box=(20, 20, 35, 30), phrase="dog"),
        SaidBox(id="0.d.3", box=(5, 5.2, 30, 30), phrase="cat"),
        SaidBox(id="0.d.4", box=(7, 7, 20, 20), phrase="dog"),
    ]
    answer = Answer(key="a", groups=frozenset(["regions"]), boxes=boxes)
    reviewed = reviewed_sample(record_of("a", *old), answer, WHO)
    kept = [each for each in reviewed.labels.regions if not each.dropped]
    assert [each.mask for each in kept] == [mask, None, mask, None]
    assert [each.brief for each in kept] == ["a dog", None, None, None]
    assert [each.box for each in kept] == [
        old[0].box,
        (20, 20, 35, 30),
        old[2].box,
        (7, 7, 20, 20),
    ]
    assert [each.id for each in kept] == [f"human.regions.0_d_{number}" for number in range(1, 5)]
    # The box that had no mask has lost none.
    assert reviewed.lost_masks == 1


def test_a_deleted_label_is_named_so(top: Path) -> None:
    from pipeline.review.said import Answer

    answer = Answer(key="a", verdicts={"0.d.1": False})
    labels = reviewed_sample(record_of("a", region("0.d.1")), answer, WHO).labels
    assert [(each.dropped, each.revision) for each in labels.regions] == [(DELETED, WHO)]
