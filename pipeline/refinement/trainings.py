"""What a round trains, and on which labels.

A round trains one model on the kept labels of its head, or one model per fold. It may train one
more on the texts that few samples have (`refine.sparse`). The samples that are held out for the
gate are in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.config.run import RunConfig
from pipeline.execution.reading import read_rows
from pipeline.plan.graph import Node, RoundModels, TrainedModel
from pipeline.plan.shard_state import ShardState
from pipeline.refinement.round_metrics import held_out
from pipeline.schema import KINDS, IndexRow
from pipeline.storage import layout
from pipeline.storage.manifest import digest
from pipeline.storage.parquet import read_table
from pipeline.storage.store import Store
from pipeline.training.data import TrainingSet
from pipeline.training.run import Training, prepare
from stages.base import fold_of
from stages.florence.tasks import TEXT_TASKS


@dataclass(frozen=True, slots=True)
class RoundTrainings:
    """The trainings of round `number` on the labels of `head`."""

    store: Store
    run: RunConfig
    head: Node
    states: Mapping[str, ShardState]
    number: int

    def refining(self, before: RoundModels | None) -> dict[int | None, Training]:
        """The trainings of the models that refine, by the fold that each leaves out (None: no fold).

        With `refine.start_from=previous` each goes on from the model of its fold in `before`.
        """
        folds = self.run.refine.folds
        earlier: dict[int | None, TrainedModel] = {}
        if before and self.run.refine.start_from == "previous":
            earlier = {model.fold: model for model in before.refining}
        labelled = self._labelled()
        labels = self._labels_digest()
        trainings: dict[int | None, Training] = {}
        for fold in range(folds) if folds > 1 else [None]:
            keys, inputs = labelled, labels
            if fold is not None:
                keys = {s: _outside_fold(k, fold, folds) for s, k in labelled.items()}
                inputs = digest(labels, f"fold {fold} of {folds}")
            data = TrainingSet(self.store, self.head, keys)
            start = earlier.get(fold, "")
            trainings[fold] = prepare(self.run, self.number, data, inputs, start)
        return trainings

    def sparse(self, model: TrainedModel) -> Training | None:
        """The fine-tuning on the texts that only some samples of the head have.

        It starts from `model` unless `refine.sparse.start` names a checkpoint. None when no sample
        or every sample has such texts.
        """
        sparse = self.run.refine.sparse
        wanted: set[str] = set(sparse.texts)
        if not wanted:
            return None
        keys, missing = self._with_texts(wanted)
        if not missing or not any(keys.values()):
            return None
        tasks = tuple(token for token, granularity in TEXT_TASKS.items() if granularity in wanted)
        config = replace(
            self.run.train,
            tasks=tasks,
            families={"image": 1.0},
            stages=sparse.stages,
            batch_size=sparse.batch_size,
        )
        data = TrainingSet(self.store, self.head, keys)
        inputs = self._labels_digest("sparse")
        return prepare(self.run, self.number, data, inputs, sparse.start or model, config)

    def _labelled(self) -> dict[str, list[str]]:
        """By shard, the keys of the samples that have kept labels and are not held out."""
        keys: dict[str, list[str]] = {}
        for shard in self.states:
            name = layout.shard_index(self.head.folder, shard)
            rows: list[IndexRow] = read_table(self.store, name, IndexRow)
            labelled = [row.key for row in rows if any(getattr(row, kind) for kind in KINDS)]
            keys[shard] = [key for key in labelled if not held_out(key, self.run)]
        return keys

    def _with_texts(self, wanted: set[str]) -> tuple[dict[str, list[str]], int]:
        """By shard, the keys of the samples with any of the texts; how many samples lack one."""
        keys: dict[str, list[str]] = {}
        missing = 0
        for shard in self.states:
            keys[shard] = []
            for record in read_rows(self.store, self.head, shard):
                has = {text.granularity for text in record.annotations.kept().texts}
                if wanted & has and not held_out(record.key, self.run):
                    keys[shard].append(record.key)
                if not wanted <= has:
                    missing += 1
        return keys, missing

    def _labels_digest(self, *prefix: str) -> str:
        """The digest of the labels that are learned from, and of which samples are held out."""
        outputs = [self.states[shard].output(self.head.name) for shard in sorted(self.states)]
        return digest(*prefix, str(self.run.refine.gate.held_out), *outputs)


def _outside_fold(keys: Sequence[str], fold: int, folds: int) -> list[str]:
    return [key for key in keys if fold_of(key, folds) != fold]
