"""What people said of samples: an input of the engine, like the labels that the source gives.

`fld review import` writes one table for each shard that has reviewed samples. Ingest lays it over
the labels of the source. Its digest is an input of the shard's images, so another review redoes the
samples that it changes, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from pipeline.rows import Row
from pipeline.schema import Annotations
from pipeline.storage import layout
from pipeline.storage.parquet import parse_table, publish_table
from pipeline.storage.store import Store


@dataclass(frozen=True, slots=True)
class ShardReviews:
    """The reviews of one shard."""

    digest: str = ""
    """Of the table; empty if there is none."""
    labels: Mapping[str, Annotations] = field(default_factory=dict)
    """Human labels and marks (`pipeline.quality.reviewed`), by the key of the sample."""

    def revision(self, of_source: str) -> str:
        """The digest of all labels that come in; `of_source` is that of the source's labels."""
        if not self.digest:
            return of_source
        return f"{of_source}+review:{self.digest}"


def reviewed_shards(store: Store) -> list[str]:
    """The shards with reviewed samples."""
    shards = [layout.shard_of_table(file) for file in store.list(layout.REVIEWS)]
    return [shard for shard in shards if shard is not None]


def read_reviews(store: Store, shard: str) -> ShardReviews:
    """The reviews of a shard; empty if there are none."""
    name = layout.review_table(shard)
    if not store.exists(name):
        return ShardReviews()
    data = store.read(name)
    rows = parse_table(data, Row)
    labels = {row.key: row.annotations for row in rows}
    return ShardReviews(hashlib.sha256(data).hexdigest(), labels)


def publish_reviews(store: Store, shard: str, labels: Mapping[str, Annotations]) -> None:
    """Write the reviews of a shard, those of earlier reviews included."""
    rows = [Row(key=key, annotations=labels[key]) for key in sorted(labels)]
    publish_table(store, layout.review_table(shard), Row, rows)


@dataclass(frozen=True, slots=True)
class Stood:
    """How many boxes of machines people left as they were."""

    judged: int
    right: int


Stands = dict[str, dict[str, Stood]]
"""By round (NN-FINGERPRINT), then by the key of the sample."""


def read_stands(store: Store) -> Stands:
    """What reviews say of the samples that were picked by chance: an honest sample of a round."""
    if not store.exists(layout.REVIEWED_BY_CHANCE):
        return {}
    found: Stands = {}
    for name, samples in store.read_json(layout.REVIEWED_BY_CHANCE).items():
        found[name] = {key: Stood(**counts) for key, counts in samples.items()}
    return found


def add_stands(store: Store, name: str, samples: Mapping[str, Stood]) -> None:
    """Keep what a review says of samples of the round `name`, in place of earlier reviews."""
    if not samples:
        return
    stands = read_stands(store)
    of_round = {**stands.get(name, {}), **samples}
    stands[name] = dict(sorted(of_round.items()))
    value = {}
    for each, counts in stands.items():
        value[each] = {key: asdict(stood) for key, stood in counts.items()}
    store.publish_json(layout.REVIEWED_BY_CHANCE, value)
