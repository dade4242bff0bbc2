"""The page on which a person judges a sample of annotations, in a browser and without a server.

Verdicts stay in the browser's storage while the page is used and are saved as JSON for `fld audit
score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.quality.audit import Item
from pipeline.report.embedded import data_uri
from pipeline.report.overlay import Colours
from pipeline.report.panels import environment, panel
from pipeline.storage.images import read_image_bytes, read_images

if TYPE_CHECKING:
    from pipeline.storage.rounds import OpenRound

_QUESTIONS = {
    "texts": "Is everything that this text says right?",
    "regions": "Is this a tight box around what the label says?",
    "text_regions": "Are these the letters, and is the quad around them?",
    "triplets": "Is the object that the coloured phrase names in the box?",
}


def audit_page(round_name: str, items: Sequence[Item], images: Mapping[str, bytes]) -> str:
    """The HTML page; `images` are the stored bytes of each item's sample by its key."""
    sizes = {item.key: item.size for item in items}
    pictures = [(key, data_uri(images[key]), size) for key, size in sizes.items()]
    number_of = {key: number for number, key in enumerate(sizes)}
    cards, listed = [], []
    for item in items:
        drawing = panel("", item.size, item.shown, Colours())
        cards.append((item, number_of[item.key], drawing))
        listed.append(
            {
                "key": item.key,
                "id": item.id,
                "type": item.type,
                "source": item.source,
            }
        )
    template = environment().get_template("audit.html")
    return template.render(
        round_name=round_name,
        questions=_QUESTIONS,
        pictures=pictures,
        cards=cards,
        listed=listed,
    )


def images_of(opened: OpenRound, items: Sequence[Item]) -> dict[str, bytes]:
    """The stored bytes of each item's sample by its key; only shards with one of them are read."""
    wanted = {item.key for item in items}
    images: dict[str, bytes] = {}
    for shard in opened.shards():
        rows = read_images(opened.store, shard)
        if wanted.isdisjoint(row.key for row in rows):
            continue
        for row, data in zip(rows, read_image_bytes(opened.store, shard), strict=True):
            if row.key in wanted:
                images[row.key] = data
    return images
