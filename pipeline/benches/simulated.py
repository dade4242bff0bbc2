"""A work folder of a finished run as the driver sees it: manifests and summaries without images.

The loop itself makes it, with an executor that writes what the workers would have written for the
driver. The records of one shard are real ones, with random labels; the summaries of all shards are
made of them by the code that the workers run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.config.run import RunConfig
from pipeline.execution.summaries import publish_summary
from pipeline.ingest.assignment import Names, assign_all
from pipeline.plan import shard_state
from pipeline.plan.graph import WITNESS, Node
from pipeline.plan.shard_state import ShardState, plan
from pipeline.refinement.executor import RunExecutor
from pipeline.refinement.loop import States
from pipeline.rows import ImageRow, IndexRow, Record, Row
from pipeline.schema import Annotations, Box, Granularity, Region, Text
from pipeline.storage import layout
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import Digests, ManifestName, SampleCounts, digest
from pipeline.storage.parquet import publish_table
from pipeline.storage.store import Store
from pipeline.training.run import Training, publish_model
from stages.florence.witness import DECOY, LOOKED, MIRRORED

SIDE = 256
"""Width and height of the images in pixels."""
WORDS = ("cup", "dog", "tree", "car", "house", "bird", "lamp", "chair")
SETTINGS = ("source=webdataset", "refine.rounds=1")


def simulated_run(folder: Path) -> RunConfig:
    """The settings of a run of one round in `folder`."""
    places = (f"source.path={folder / 'source'}", f"work={folder / 'work'}")
    return parse(compose([*SETTINGS, *places]))


def publish_source(folder: Path, shards: int) -> None:
    """Empty tars, which are the source of the run."""
    source = folder / "source"
    source.mkdir(parents=True)
    for number in range(shards):
        (source / f"{number:06d}").with_suffix(layout.TAR_SUFFIX).touch()


class SimulatedExecutor(RunExecutor):
    """Writes manifests in place of work, and for the summaries of all shards that of the first."""

    def __init__(self, store: Store, run: RunConfig, images: int) -> None:
        super().__init__(store, run)
        self.images = images
        """Images in a shard."""
        self.rng = np.random.default_rng(0)
        self._folders: set[str] = set()

    def ingest(self, names: Names) -> States:
        """Assign the tars, and say of all that they are in."""
        states = {}
        for shard, members in assign_all(self.store, self.run.all_sources, names).all().items():
            digests = self._publish(IMAGES, shard, digest(*members))
            states[shard] = ShardState({IMAGES: digests.output})
        first = min(states)
        rows = [Row(key=key, annotations=self._labels(0)) for key in self._keys()]
        images = [ImageRow(key=row.key, name=row.key) for row in rows]
        publish_table(self.store, layout.images_table(first), ImageRow, images)
        publish_table(self.store, layout.truth_table(first), Row, rows)
        return states

    def annotate(
        self, title: str, nodes: Sequence[Node], states: States, head: Node | None
    ) -> States:
        """Say of all shards that the nodes are done."""
        graph = {node.name: node for node in [*nodes, *([head] if head else [])]}
        first = min(states)
        done = plan(self.store, nodes, states).states
        for node in nodes:
            if done[first].has(node.name):
                continue
            if node.kind == "summary":
                done = self._summarise(node, graph, done)
                continue
            self._write_tables(node, first)
            for shard, state in done.items():
                inputs = shard_state.input_digest(node, state)
                digests = self._publish(node.folder, shard, str(inputs))
                done[shard] = state.with_(node.name, digests)
        return done

    def train(self, training: Training) -> str:
        """A model of one small file."""
        self.store.publish_json(layout.model_metrics(training.folder), {})
        return publish_model(self.store, training)

    def _publish(self, folder: str, shard: str, inputs: str, output: str = "") -> Digests:
        """The name of a manifest, which is all that a plan reads; its output is any digest."""
        digests = Digests(inputs, output or digest(folder, shard))
        counts = SampleCounts(self.images, 0)
        name = ManifestName.of(shard, digests, counts)
        self._write(layout.manifest(folder, name), b"")
        return digests

    def _write(self, name: str, data: bytes) -> None:
        """Write a file as fast as a disk can."""
        path = self.store.path(name)
        folder = os.path.dirname(path)
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
        with open(path, "wb", buffering=0) as file:
            file.write(data)

    def _summarise(self, node: Node, graph: dict[str, Node], states: States) -> States:
        """Count the first shard, and say the same of the others."""
        first = min(states)
        digests = publish_summary(self.store, node, graph, first, states[first])
        counted = self.store.read(layout.summary(node.folder, first))
        done = {first: states[first].with_(node.name, digests)}
        for shard, state in states.items():
            if shard == first:
                continue
            data = counted.replace(first.encode(), shard.encode())
            name = layout.summary(node.folder, shard)
            self._write(name, data)
            inputs = str(shard_state.input_digest(node, state))
            output = digest(hashlib.sha256(data).hexdigest())
            digests = self._publish(node.folder, shard, inputs, output)
            done[shard] = state.with_(node.name, digests)
        return done

    def _write_tables(self, node: Node, shard: str) -> None:
        """The tables that summaries read: of a round, and of what a model said."""
        table = node.table(shard)
        if node.kind == "round":
            records = []
            index = []
            for key in self._keys():
                record = self._record(key, node.round)
                records.append(record)
                index.append(_index_row(record, shard))
            publish_table(self.store, table, Record, records)
            publish_table(self.store, layout.shard_index(node.folder, shard), IndexRow, index)
        elif node.is_before_merge:
            say = self._witnessed if node.entry.use == WITNESS else self._judged
            rows = [Row(key=key, annotations=say(node.round)) for key in self._keys()]
            publish_table(self.store, table, Row, rows)

    def _keys(self) -> list[str]:
        return [f"image_{number:06d}" for number in range(self.images)]

    def _record(self, key: str, number: int) -> Record:
        labels = self._labels(number)
        return Record(key=key, name=key, width=SIDE, height=SIDE, sha256="", annotations=labels)

    def _labels(self, number: int) -> Annotations:
        """Two texts and five regions; a round after the first has changed one of the regions."""
        texts = [self._text(0, "brief", 8), self._text(1, "detailed", 30)]
        regions = [self._region(index, 0) for index in range(5)]
        if number:
            regions[0] = replace(regions[0], id=f"{number}.refine.regions.0", round=number)
        return Annotations(texts=texts, regions=regions)

    def _judged(self, number: int) -> Annotations:
        """What a model says: how likely it finds the old regions, and the same ones again."""
        labels = self._labels(0)
        found = []
        judged = []
        for region in labels.regions:
            support = -float(self.rng.gamma(2.0, 0.25))
            judged.append(replace(region, support=support))
            again = region.id.replace("0.noisy", f"{number}.refine")
            found.append(replace(region, id=again, round=number, support=support, score=0.5))
        return Annotations(texts=labels.texts, regions=[*judged, *found])

    def _witnessed(self, number: int) -> Annotations:
        """What its second look says: the same regions, and how likely it finds them elsewhere."""
        regions = []
        for region in self._labels(0).regions:
            name = region.id.replace("0.noisy", f"{number}.witness")
            found = replace(region, id=name, round=number, source=MIRRORED, score=0.5)
            decoy = replace(found, id=f"{name}d", source=DECOY, parents=[region.id], score=None)
            for seen in (found, decoy):
                support = -float(self.rng.gamma(2.0, 0.25))
                regions.append(replace(seen, support=support))
        looked = Text(
            id=f"{number}.witness.texts.0",
            source=LOOKED,
            round=number,
            granularity="brief",
            text="",
        )
        return Annotations(texts=[looked], regions=regions)

    def _text(self, index: int, granularity: Granularity, words: int) -> Text:
        said = " ".join(self.rng.choice(WORDS, words))
        return Text(id=f"0.noisy.texts.{index}", source="noisy", granularity=granularity, text=said)

    def _region(self, index: int, number: int) -> Region:
        x, y = self.rng.uniform(0, SIDE / 2, 2).tolist()
        width, height = self.rng.uniform(8, SIDE / 2, 2).tolist()
        box: Box = (x, y, x + width, y + height)
        phrase = str(self.rng.choice(WORDS))
        name = f"{number}.noisy.regions.{index}"
        return Region(id=name, source="noisy", box=box, phrase=phrase, score=0.9)


def _index_row(record: Record, shard: str) -> IndexRow:
    """The index of a sample that lies nowhere."""
    return IndexRow(
        key=record.key,
        shard=shard,
        image_offset=0,
        image_size=0,
        json_offset=0,
        json_size=0,
        width=record.width,
        height=record.height,
        texts=len(record.annotations.texts),
        regions=len(record.annotations.regions),
        text_regions=0,
        triplets=0,
        granularities=sorted({text.granularity for text in record.annotations.texts}),
    )
