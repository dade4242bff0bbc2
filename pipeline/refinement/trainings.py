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
class _SamplesWithTexts:
    """The samples that have some texts."""

    keys: dict[str, list[str]]
    """By shard, the samples with any of the texts that are not held out."""
    missing: int
    """How many samples lack at least one of the texts."""


@dataclass(frozen=True, slots=True)
class RoundTrainings:
    """The trainings of a round on the labels of its head."""

    store: Store
    run: RunConfig
    head: Node
    """The accepted round whose labels are learned from."""
    states: Mapping[str, ShardState]
    """What is done on every shard."""
    number: int
    """The number of the round that the models are for."""

    def refining(self, before: RoundModels | None) -> dict[int | None, Training]:
        """The trainings of the models that refine, by the fold that each leaves out.

        Without folds there is one, under None. With `refine.start_from=previous` each goes on from
        the model of its fold in `before`.
        """
        folds = self.run.refine.folds
        start_of = self._starts(before)
        labelled = self._labelled()
        labels = self._labels_digest()
        trainings: dict[int | None, Training] = {}
        if folds == 1:
            start = start_of.get(None, "")
            trainings[None] = self._prepare(labelled, labels, start)
            return trainings
        for fold in range(folds):
            keys: dict[str, list[str]] = {}
            for shard, shard_keys in labelled.items():
                keys[shard] = _outside_fold(shard_keys, fold, folds)
            inputs = digest(labels, f"fold {fold} of {folds}")
            start = start_of.get(fold, "")
            trainings[fold] = self._prepare(keys, inputs, start)
        return trainings

    def _starts(self, before: RoundModels | None) -> dict[int | None, TrainedModel]:
        """The earlier models that trainings start from, by their folds.

        It is empty if they start from `refine.start`, as those of the first round do.
        """
        models: dict[int | None, TrainedModel] = {}
        if before and self.run.refine.start_from == "previous":
            for model in before.refining:
                models[model.fold] = model
        return models

    def _prepare(
        self,
        keys: Mapping[str, Sequence[str]],
        inputs: str,
        start: TrainedModel | str,
    ) -> Training:
        """The training on the samples of these keys; `inputs` is the digest of their labels."""
        data = TrainingSet(self.store, self.head, keys)
        return prepare(self.run, self.number, data, inputs, start)

    def sparse(self, model: TrainedModel) -> Training | None:
        """The fine-tuning on the texts that only some samples of the head have.

        It starts from `model` unless `refine.sparse.start` names a checkpoint. None when no sample
        or every sample has such texts.
        """
        sparse = self.run.refine.sparse
        wanted: set[str] = set(sparse.texts)
        if not wanted:
            return None
        samples = self._with_texts(wanted)
        has_examples = any(samples.keys.values())
        if not samples.missing or not has_examples:
            return None
        tasks = []
        for token, granularity in TEXT_TASKS.items():
            if granularity in wanted:
                tasks.append(token)
        config = replace(
            self.run.train,
            tasks=tuple(tasks),
            families={"image": 1.0},
            stages=sparse.stages,
            batch_size=sparse.batch_size,
        )
        data = TrainingSet(self.store, self.head, samples.keys)
        inputs = self._labels_digest("sparse")
        start = sparse.start or model
        return prepare(self.run, self.number, data, inputs, start, config)

    def _labelled(self) -> dict[str, list[str]]:
        """The samples that have kept labels and are not held out.

        They are given by their keys, by shard.
        """
        keys: dict[str, list[str]] = {}
        for shard in self.states:
            name = layout.shard_index(self.head.folder, shard)
            keys[shard] = []
            # The index counts the kept labels, so the labels themselves need not be read.
            for row in read_table(self.store, name, IndexRow):
                is_labelled = any(getattr(row, kind) for kind in KINDS)
                if is_labelled and not held_out(row.key, self.run):
                    keys[shard].append(row.key)
        return keys

    def _with_texts(self, wanted: set[str]) -> _SamplesWithTexts:
        """The samples with texts of the wanted granularities."""
        keys: dict[str, list[str]] = {}
        missing = 0
        for shard in self.states:
            keys[shard] = []
            for record in read_rows(self.store, self.head, shard):
                texts = record.annotations.kept().texts
                present = {text.granularity for text in texts}
                has_any = bool(wanted & present)
                has_all = wanted <= present
                if has_any and not held_out(record.key, self.run):
                    keys[shard].append(record.key)
                if not has_all:
                    missing += 1
        return _SamplesWithTexts(keys, missing)

    def _labels_digest(self, *prefix: str) -> str:
        """The digest of the labels that are learned from, and of which samples are held out."""
        outputs = []
        for _, state in sorted(self.states.items()):
            output = state.output(self.head.name)
            outputs.append(output)
        share = str(self.run.refine.gate.held_out)
        return digest(*prefix, share, *outputs)


def _outside_fold(keys: Sequence[str], fold: int, folds: int) -> list[str]:
    """The keys whose samples the model of `fold` may learn from.

    It labels the others, which it has not seen.
    """
    return [key for key in keys if fold_of(key, folds) != fold]
