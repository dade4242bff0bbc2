"""The page on which a person judges a sample of annotations, in a browser and without a server.

Verdicts stay in the browser's storage while the page is used and are saved as JSON for `fld audit score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.quality.audit import Item
from pipeline.report.overlay import Colours
from pipeline.report.panels import data_uri, environment, panel

_QUESTIONS = {
    "texts": "Is everything that this text says right?",
    "regions": "Is this a tight box around what the label says?",
    "text_regions": "Are these the letters, and is the quad around them?",
    "triplets": "Is what the coloured phrase means in the box?",
}


def audit_page(round_name: str, items: Sequence[Item], images: Mapping[str, bytes]) -> str:
    """`images` holds the stored bytes of each item's sample."""
    sizes = {item.key: item.size for item in items}
    numbers = {key: number for number, key in enumerate(sizes)}
    return (
        environment()
        .get_template("audit.html")
        .render(
            round_name=round_name,
            questions=_QUESTIONS,
            pictures=[(key, data_uri(images[key]), size) for key, size in sizes.items()],
            cards=[
                (item, numbers[item.key], panel("", item.size, item.shown, Colours()))
                for item in items
            ],
            listed=[{"key": i.key, "id": i.id, "type": i.type, "source": i.source} for i in items],
        )
    )
