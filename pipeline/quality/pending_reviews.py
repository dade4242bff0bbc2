"""Reviews that have come in since the last run, so that no round has them yet."""

from __future__ import annotations

from pipeline.quality.reviewed import with_review
from pipeline.schema import Annotations
from pipeline.storage.images import read_given
from pipeline.storage.reviews import read_reviews, reviewed_shards
from pipeline.storage.store import Store


def pending_reviews(store: Store) -> int:
    """How many reviewed samples have labels of people that no round has yet.

    The labels that came in with the images have those of a review from the next ingest on. Only
    shards with reviews are read.
    """
    waiting = 0
    for shard in reviewed_shards(store):
        given = read_given(store, shard)
        for key, review in read_reviews(store, shard).labels.items():
            labels = given.get(key, Annotations())
            # Laying a review over labels that have it changes nothing.
            if with_review(labels, review) != labels:
                waiting += 1
    return waiting


def pending_line(store: Store) -> str | None:
    """What to tell a user of such samples; None if there are none."""
    waiting = pending_reviews(store)
    if not waiting:
        return None
    samples = "sample has" if waiting == 1 else "samples have"
    return (
        f"{waiting} {samples} been reviewed since the last run, and no round has the labels of "
        f"people yet; `fld run --config {store.url}/config.yaml` takes them over"
    )
