"""What a round trains, and on which labels.

A round trains one model on the kept labels of its head, or one model per fold. It may train one
more on the texts that few samples have (`refine.sparse`). The samples that are held out for the
gate are in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.config.run import RunConfig
from pipeline.plan.graph import Node, RoundModels, TrainedModel
from pipeline.plan.shard_state import ShardState
from pipeline.quality.summary import Summary
from pipeline.storage.manifest import digest
from pipeline.storage.store import Store
from pipeline.training.data import IndexedKeys, TrainingSet
from pipeline.training.run import Training, prepare
from pipeline.training.selection import Selection, held_out_of
from stages.florence.tasks import TEXT_TASKS


@dataclass(frozen=True, slots=True)
class RoundTrainings:
    """The trainings of a round on the labels of its head."""

    store: Store
    run: RunConfig
    head: Node
    """The accepted round whose labels are learned from."""
    states: Mapping[str, ShardState]
    """What is done on every shard."""
    counted: Summary
    """What was counted on the head (`round_summary`)."""
    number: int
    """The number of the round that the models are for."""

    def refining(self, before: RoundModels | None) -> dict[int | None, Training]:
        """The trainings of the models that refine, by the fold that each leaves out.

        Without folds there is one, under None. With `refine.start_from=previous` each goes on from
        the model of its fold in `before`.
        """
        folds = self.run.refine.folds
        start_of = self._starts(before)
        labels = self._labels_digest()
        trainings: dict[int | None, Training] = {}
        if folds == 1:
            start = start_of.get(None, "")
            trainings[None] = self._prepare(self._selection(), labels, start)
            return trainings
        for fold in range(folds):
            selection = replace(self._selection(), fold=fold)
            inputs = digest(labels, f"fold {fold} of {folds}")
            start = start_of.get(fold, "")
            trainings[fold] = self._prepare(selection, inputs, start)
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
        selection: Selection,
        inputs: str,
        start: TrainedModel | str,
    ) -> Training:
        """The training on the selected samples; `inputs` is the digest of their labels."""
        return prepare(self.run, self.number, self._data(selection), inputs, start)

    def sparse(self, model: TrainedModel) -> Training | None:
        """The fine-tuning on the texts that only some samples of the head have.

        It starts from `model` unless `refine.sparse.start` names a checkpoint. None when no sample
        or every sample has such texts.
        """
        sparse = self.run.refine.sparse
        if not sparse.texts:
            return None
        data = self._data(replace(self._selection(), texts=sparse.texts))
        if not self.counted["lacking_texts"] or not len(data):
            return None
        tasks = []
        for token, granularity in TEXT_TASKS.items():
            if granularity in sparse.texts:
                tasks.append(token)
        config = replace(
            self.run.train,
            tasks=tuple(tasks),
            families={"image": 1.0},
            stages=sparse.stages,
            batch_size=sparse.batch_size,
        )
        inputs = self._labels_digest("sparse")
        start = sparse.start or model
        return prepare(self.run, self.number, data, inputs, start, config)

    def _selection(self) -> Selection:
        """The labelled samples that are not held out."""
        refine = self.run.refine
        return Selection(held_out=held_out_of(refine.gate), folds=refine.folds)

    def _data(self, selection: Selection) -> TrainingSet:
        """The selected samples of the head. Only their number is known here."""
        counts = {}
        for shard, selectable in self.counted.get("selectable", {}).items():
            count = selection.count(selectable)
            if count:
                counts[shard] = count
        keys = IndexedKeys(self.head.folder, selection)
        return TrainingSet(self.store, self.head, keys, counts)

    def _labels_digest(self, *prefix: str) -> str:
        """The digest of the labels that are learned from, and of which samples are held out."""
        outputs = []
        for _, state in sorted(self.states.items()):
            output = state.output(self.head.name)
            outputs.append(output)
        gate = self.run.refine.gate
        shares = [str(gate.held_out)]
        if gate.held_out_human > gate.held_out:
            shares.append(f"human {gate.held_out_human}")
        return digest(*prefix, *shares, *outputs)
