import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.schema import Annotations
from stages.ingest import Accepted, labelled, receive
from stages.source import Item
from stages.sources.coco import CocoConfig, CocoSource
from tests.stages.sources.forms import pictures, write_coco, write_folder

NAMES = list(pictures(2))
IMAGES = [
    {"id": 10 + i, "file_name": name, "width": 48, "height": 40} for i, name in enumerate(NAMES)
]
DOG: dict[str, Any] = {
    "id": 7,
    "image_id": 10,
    "category_id": 18,
    "bbox": [4.25, 5.5, 20.1, 10.0],
    "iscrowd": 0,
    "segmentation": [[4, 5, 24, 5, 24, 15, 4, 15]],
    "keypoints": [0] * 51,
    "num_keypoints": 0,
}
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images", pictures(2))


def source(
    folder: Path, instances: list[Any], captions: list[Any] | None = None, **settings: Any
) -> CocoSource:
    parent = folder.parent
    files = {
        "instances": str(
            write_coco(parent / "instances.json", IMAGES, instances, categories=CATEGORIES)
        )
    }
    if captions is not None:
        files["captions"] = str(write_coco(parent / "captions.json", IMAGES, captions))
    return CocoSource(CocoConfig(path=str(folder), **files, **settings))


def given(source: CocoSource) -> Annotations:
    return receive(next(iter(source.read(NAMES[:1])))).given


def test_boxes_masks_and_captions_come_in_as_human_labels_with_cocos_ids(folder: Path) -> None:
    labels = given(source(folder, [DOG], [{"id": 3, "image_id": 10, "caption": "A dog.\n"}]))
    (dog,), (text,) = labels.regions, labels.texts
    assert (dog.id, dog.source, dog.phrase, dog.dropped, dog.locked) == (
        "human.regions.7",
        "human",
        "dog",
        None,
        True,
    )
    assert (
        dog.box == (4.25, 5.5, 24.35, 15.5) and dog.mask is not None and dog.mask.size == (40, 48)
    )
    assert (text.id, text.granularity, text.text, text.locked) == (
        "human.texts.3",
        "brief",
        "A dog.\n",
        True,
    )


def test_as_truth_they_do_not_enter_the_run(folder: Path) -> None:
    (item,) = source(folder, [DOG], annotations="truth").read(NAMES[:1])
    image = receive(item)
    assert len(image.given) == 0 and image.truth and image.truth.regions[0].phrase == "dog"


def test_a_crowd_and_what_makes_no_sense_come_in_with_their_reason(folder: Path) -> None:
    crowd = {
        **DOG,
        "id": 8,
        "iscrowd": 1,
        "segmentation": {"size": [40, 48], "counts": [100, 50, 1770]},
    }
    odd = [
        {**DOG, "id": 20, "bbox": [1, 2, 3]},
        {**DOG, "id": 21, "bbox": [100, 100, 5, 5]},
        {**DOG, "id": 22, "segmentation": [[1, 2]]},
        {**DOG, "id": 23, "category_id": 99},
        {**DOG, "id": 24, "category_id": [1]},
        {"image_id": 10},
    ]
    labels = given(source(folder, [DOG, crowd, *odd], [{"id": 1, "image_id": 10, "caption": None}]))
    assert [(r.id.removeprefix("human.regions."), r.dropped) for r in labels.regions] == [
        ("7", None),
        ("8", "crowd"),
        ("20", "malformed_box"),
        ("21", "outside_image"),
        ("22", None),
        ("23", "unknown_category"),
        ("24", "unknown_category"),
        ("x7", "malformed_box"),
    ]
    assert labels.texts[0].dropped == "malformed_caption"


def test_equal_ids_stay_apart(folder: Path) -> None:
    ids = [region.id for region in given(source(folder, [DOG, DOG, {**DOG, "id": None}])).regions]
    assert len(set(ids)) == 3


def test_annotations_of_images_that_are_not_listed_are_left_out_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = source(folder, [DOG, {**DOG, "image_id": 99}, "nonsense"])
    assert listed.list() == NAMES and len(given(listed).regions) == 1
    assert "2 annotations of images that it does not list" in caplog.text


def test_an_image_that_is_listed_and_missing_is_a_row(folder: Path) -> None:
    (folder / NAMES[1]).unlink()
    found: list[Item] = list(source(folder, [DOG]).read(NAMES))
    assert [item.failed.reason if item.failed else None for item in found] == [None, "unreadable"]


def test_the_revision_changes_with_the_labels_of_the_names_and_no_others(folder: Path) -> None:
    before, later = source(folder, [DOG]), source(folder, [{**DOG, "bbox": [1, 1, 9, 9]}])
    assert before.revision(NAMES[:1]) != later.revision(NAMES[:1])
    assert before.revision(NAMES[1:]) == later.revision(NAMES[1:])
    assert before.revision(NAMES[:1]) == source(folder, [DOG]).revision(NAMES[:1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected"),
        (json.dumps({"images": [{}], "annotations": []}), "an image without file_name or id"),
    ],
)
def test_a_file_that_is_no_coco_is_the_users_mistake(
    folder: Path, content: str, message: str
) -> None:
    file = folder.parent / "bad.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=f"source.captions=.*bad.json: .*{message}"):
        CocoSource(CocoConfig(path=str(folder), captions=str(file)))
    with pytest.raises(ValueError, match="neither is set"):
        CocoSource(CocoConfig(path=str(folder)))


def test_numbers_beyond_all_bounds_cost_their_entry_alone(folder: Path) -> None:
    huge = [{**DOG, "id": 10**400}, {**DOG, "id": 8, "bbox": [10**400, 1, 5, 5]}, {**DOG, "id": 9}]
    found = given(source(folder, huge)).regions
    assert [(r.id, r.dropped) for r in found] == [
        ("human.regions.x0", None),
        ("human.regions.8", "malformed_box"),
        ("human.regions.9", None),
    ]


def test_an_image_outside_the_folder_is_a_row_with_its_reason(folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes(b"secret")
    file = write_coco(folder.parent / "out.json", [{"id": 1, "file_name": "../secret.png"}], [])
    (item,) = CocoSource(CocoConfig(path=str(folder), instances=str(file))).read(["../secret.png"])
    assert item.data is None and item.failed and item.failed.reason == "unsafe_name"


def test_labels_are_told_of_an_image_that_cannot_be_read_any_more(folder: Path) -> None:
    (folder / NAMES[0]).unlink()
    (item,) = source(folder, [DOG]).read(NAMES[:1])
    assert item.failed and item.size == (48, 40)
    image = labelled(Accepted(b"", "png", 40, 48, orientation=6), item)
    assert [region.box for region in image.given.regions] == [(24.5, 4.25, 34.5, 24.35)]


@pytest.mark.parametrize("categories", [[{"id": 1}], ["cat"], [{"id": [1], "name": "cat"}], "cat"])
def test_categories_that_make_no_sense_are_the_users_mistake(folder: Path, categories: Any) -> None:
    file = write_coco(folder.parent / "bad.json", IMAGES, [], categories=categories)
    with pytest.raises(
        ValueError, match=r"source.instances=.*bad.json: (a category without id or name|expected)"
    ):
        CocoSource(CocoConfig(path=str(folder), instances=str(file)))


def labelled_pictures(folder: Path, images: list[Any], **label: Any) -> CocoSource:
    """A source with one dog in each image."""
    entries = [{**DOG, "id": i, "image_id": image["id"]} for i, image in enumerate(images)]
    entries = [{**entry, **label} for entry in entries]
    file = write_coco(folder.parent / "made.json", images, entries, categories=CATEGORIES)
    return CocoSource(CocoConfig(path=str(folder), instances=str(file)))


@pytest.mark.parametrize("size", [{}, {"width": None}, {"width": 48.0, "height": "40"}])
@pytest.mark.parametrize(
    "outline", [DOG["segmentation"], {"size": [40, 48], "counts": [100, 50, 1770]}]
)
def test_a_mask_needs_no_size_but_that_of_the_picture(
    folder: Path, size: dict[str, Any], outline: Any
) -> None:
    images = [{"id": 1, "file_name": NAMES[0], **size}]
    with_size = [{"id": 1, "file_name": NAMES[0], "width": 48, "height": 40}]
    found = given(labelled_pictures(folder, images, segmentation=outline))
    assert found == given(labelled_pictures(folder, with_size, segmentation=outline))
    assert found.regions[0].mask is not None and found.regions[0].dropped is None


def test_outlines_that_make_no_sense_are_counted_and_their_boxes_stay(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = DOG["segmentation"]
    odd = [[], [[]], [[1, 2, 3, 4]], [*good, [1, 1]], good[0], {"size": [1, 1], "counts": [1]}]
    labels = [{**DOG, "id": i, "segmentation": outline} for i, outline in enumerate(odd)]
    listed = source(folder, labels)
    listed.list()
    assert "4 annotations have outlines that make no sense (the first has the id 2)" in caplog.text
    regions = given(listed).regions
    assert [region.dropped for region in regions] == [None] * 6
    assert [region.mask is not None for region in regions] == [False] * 3 + [True] + [False] * 2


def test_names_of_windows_and_names_without_folders_find_their_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data,) = pictures(1).values()
    folder = tmp_path / "images"
    for name in ("a/1.jpg", "a/2.jpg", "b/2.jpg", "3.jpg", "b/4.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    names = ["a\\1.jpg", "2.jpg", "./3.jpg", "C:\\photos\\4.jpg", "5.jpg"]
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    found = labelled_pictures(folder, images)
    assert found.list() == sorted(names)
    items = {item.name: item for item in found.read(sorted(names))}
    reasons = {name: item.failed.reason for name, item in items.items() if item.failed}
    assert reasons == {"2.jpg": "ambiguous_name", "5.jpg": "unreadable"}
    assert "a/2.jpg or b/2.jpg" in str(items["2.jpg"].failed)
    assert "2 of the 5 images that the COCO file lists are not there: 2.jpg" in caplog.text
    assert "1 images were found by their names without folders" in caplog.text
    assert "C:\\photos\\4.jpg as b/4.jpg" in caplog.text


def test_both_files_may_write_one_name_differently(folder: Path) -> None:
    instances = write_coco(folder.parent / "i.json", IMAGES, [DOG], categories=CATEGORIES)
    listed = [{"id": "10", "file_name": f".\\{NAMES[0]}"}]
    captions = write_coco(
        folder.parent / "c.json", listed, [{"id": 3, "image_id": 10.0, "caption": "A dog."}]
    )
    both = CocoSource(
        CocoConfig(path=str(folder), instances=str(instances), captions=str(captions))
    )
    assert both.list() == NAMES
    labels = given(both)
    assert len(labels.regions) == len(labels.texts) == 1


def test_a_folder_that_is_not_there_is_the_users_mistake(folder: Path) -> None:
    file = write_coco(folder.parent / "i.json", IMAGES, [], categories=CATEGORIES)
    missing = CocoSource(CocoConfig(path=str(folder / "no"), instances=str(file)))
    with pytest.raises(ValueError, match=r"source.path=.*/no: no such folder or file"):
        missing.list()
