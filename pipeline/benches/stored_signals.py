"""A work folder whose specialists are done: their signals, with random labels.

A sample has as many annotations as a photo with the specialists of the paper: 3 texts, 20 regions,
4 text regions and 36 triplets, of which each has a mask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.config.run import Entry, RoundsConfig
from pipeline.plan.graph import Node
from pipeline.plan.shard_state import ShardState
from pipeline.rows import ImageRow, Row
from pipeline.schema import (
    Annotations,
    Box,
    Candidate,
    Granularity,
    Mask,
    NounPhrase,
    Parse,
    Region,
    Text,
    TextRegion,
    Triplet,
)
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from pipeline.storage.tars import TarWriter

SPECIALISTS = ("detect", "caption", "parse", "ocr", "score", "ground")
"""In the order in which they run; `parse` revises texts, and `score` regions."""
ANNOTATIONS = 63
"""Of one sample."""
WORDS = ("cup", "dog", "tree", "car", "house", "bird", "lamp", "chair", "red", "old", "wooden")
TEXTS: tuple[tuple[Granularity, int], ...] = (
    ("brief", 10),
    ("detailed", 40),
    ("more_detailed", 80),
)
"""The texts of a sample, each with its number of words."""
WIDTH, HEIGHT = 640, 480
LETTERS = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
MASK_LENGTH = 120
"""Characters of a mask's run lengths."""


def stored_nodes() -> list[Node]:
    """The nodes of the specialists."""
    return [_stored_node(name) for name in SPECIALISTS]


def stored_state() -> ShardState:
    """The state of a shard whose specialists are done; the digests mean nothing."""
    names = [IMAGES, *(f"0.{name}" for name in SPECIALISTS)]
    return ShardState(dict.fromkeys(names, "0"))


def store_shard(store: Store, shard: str, samples: int, image_bytes: int, seed: int) -> None:
    """Write the images of a shard, which are random bytes, and the signals of all specialists."""
    rng = np.random.default_rng(seed)
    images = []
    tables: dict[str, list[Row]] = {name: [] for name in SPECIALISTS}
    with store.publishing(layout.images_tar(shard)) as sink:
        tar = TarWriter(sink)
        for number in range(samples):
            key = f"{layout.shard_number(shard):06d}_{number:06d}"
            images.append(_stored_image(tar, key, rng.bytes(image_bytes)))
            for name, annotations in _sample(rng).items():
                tables[name].append(Row(key=key, annotations=annotations))
        tar.close()
    publish_table(store, layout.images_table(shard), ImageRow, images)
    for node in stored_nodes():
        publish_table(store, node.table(shard), Row, tables[node.entry.name])


def _stored_node(name: str) -> Node:
    return Node(
        name=f"0.{name}",
        entry=Entry(name=name, use=name, options=RoundsConfig()),
        round=0,
        reads=(),
        fingerprint="stored",
        folder=layout.signals_folder(name, "stored"),
    )


def _stored_image(tar: TarWriter, key: str, data: bytes) -> ImageRow:
    (member,) = tar.write(key, {"jpg": data})
    sha256 = hashlib.sha256(data).hexdigest()
    return ImageRow(
        key=key,
        name=f"{key}.jpg",
        member=member.name,
        offset=member.offset,
        size=member.size,
        width=WIDTH,
        height=HEIGHT,
        sha256=sha256,
        source_sha256=sha256,
    )


def _sample(rng: np.random.Generator) -> Mapping[str, Annotations]:
    """What each specialist found on one sample."""
    regions = [_region(rng, number) for number in range(20)]
    texts = [_text(rng, number) for number in range(len(TEXTS))]
    parsed = [replace(text, parse=_parse(text.text)) for text in texts]
    return {
        "detect": Annotations(regions=regions),
        "caption": Annotations(texts=texts),
        "parse": Annotations(texts=parsed),
        "ocr": Annotations(text_regions=[_text_region(rng, number) for number in range(4)]),
        "score": Annotations(regions=[_scored(rng, region) for region in regions]),
        "ground": Annotations(triplets=list(_triplets(rng, parsed, regions))),
    }


def _region(rng: np.random.Generator, number: int) -> Region:
    return Region(
        id=f"0.detect.regions.{number}",
        source="detect",
        model="rtdetr_r50vd",
        revision="0123456789ab",
        box=_box(rng),
        phrase=_words(rng, 1),
        score=float(rng.uniform(0.1, 1)),
    )


def _scored(rng: np.random.Generator, region: Region) -> Region:
    """A region with its candidates and the best of them."""
    words = f"a {_words(rng, 1)} {region.phrase}"
    candidate = Candidate(text=words, kind="caption", score=float(rng.uniform()))
    return replace(region, brief=words, brief_kind="caption", candidates=[candidate])


def _text(rng: np.random.Generator, number: int) -> Text:
    granularity, words = TEXTS[number]
    return Text(
        id=f"0.caption.texts.{number}",
        source="caption",
        model="florence-2-large",
        revision="123456789abc",
        granularity=granularity,
        text=_words(rng, words),
    )


def _parse(text: str) -> Parse:
    """A parse in which every fourth word is an object, and a noun phrase."""
    words = text.split()
    phrases = []
    start = 0
    for number, word in enumerate(words):
        if number % 4 == 0:
            phrases.append(NounPhrase(text=word, start=start, end=start + len(word)))
        start += len(word) + 1
    return Parse(
        tokens=len(words),
        objects=words[::4],
        attributes=words[1::4],
        actions=words[2::8],
        proper_nouns=[],
        object_complexity=3,
        action_complexity=2,
        object_complexity_mean=2.25,
        action_complexity_mean=1.5,
        noun_phrases=phrases,
    )


def _text_region(rng: np.random.Generator, number: int) -> TextRegion:
    left, top, right, bottom = _box(rng)
    return TextRegion(
        id=f"0.ocr.text_regions.{number}",
        source="ocr",
        model="PP-OCRv4",
        revision="23456789abcd",
        quad=(left, top, right, top, right, bottom, left, bottom),
        text=_words(rng, 2),
        score=float(rng.uniform(0.1, 1)),
    )


def _triplets(
    rng: np.random.Generator, texts: Sequence[Text], regions: Sequence[Region]
) -> Iterator[Triplet]:
    """36 phrases of the texts, each with the box of a region and a mask."""
    for number in range(36):
        text = texts[number % len(texts)]
        assert text.parse is not None
        phrases = text.parse.noun_phrases
        phrase = phrases[number // len(texts) % len(phrases)]
        region = regions[number % len(regions)]
        yield Triplet(
            id=f"0.ground.triplets.{number}",
            source="ground",
            model="grounding-dino-base",
            revision="3456789abcde",
            parents=[text.id, region.id],
            text_id=text.id,
            phrase=phrase.text,
            start=phrase.start,
            end=phrase.end,
            box=region.box,
            score=float(rng.uniform(0.1, 1)),
            phrase_score=float(rng.uniform(0.1, 1)),
            mask=Mask(size=(HEIGHT, WIDTH), counts="".join(rng.choice(LETTERS, MASK_LENGTH))),
        )


def _box(rng: np.random.Generator) -> Box:
    left, top = rng.uniform(0, [WIDTH / 2, HEIGHT / 2]).tolist()
    width, height = rng.uniform(8, [WIDTH / 2, HEIGHT / 2]).tolist()
    return (left, top, left + width, top + height)


def _words(rng: np.random.Generator, count: int) -> str:
    return " ".join(rng.choice(WORDS, count))
