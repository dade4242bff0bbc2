from pathlib import Path

import pytest

from pipeline.config.compose import compose
from pipeline.config.parse import parse
from pipeline.plan import graph, shard_state
from pipeline.plan.recipe import content_hash
from pipeline.plan.shard_state import ShardState
from pipeline.storage.layout import IMAGES
from pipeline.storage.manifest import FileDigest, Manifest
from pipeline.storage.store import Store
from stages.registry import load


def nodes(*overrides: str) -> dict[str, graph.Node]:
    return {node.name: node for node in graph.round_zero(parse(compose(list(overrides))))}


def changed(*overrides: str) -> set[str]:
    before, after = nodes(), nodes(*overrides)
    return {name for name in before if before[name].fingerprint != after[name].fingerprint}


COMPOSED = {"0.caption", "0.describe", "0.parse", "0.ground", "0.text", "0.triplet", "0.round"}


def test_a_filter_threshold_changes_that_filter_and_what_is_composed_of_what_it_keeps() -> None:
    assert changed("filters.region.min_score=0.5") == {"0.region", *COMPOSED}
    assert changed("filters.text.brief.max_objects=5") == {"0.text", "0.triplet", "0.round"}


def test_no_stage_that_looks_at_images_comes_after_a_filter() -> None:
    """So another threshold runs none of them again."""
    for recipe, looks in (("demo", "0.segment"), ("noisy", "0.noisy")):
        planned = nodes(f"specialists={recipe}", "refine.complete=[]")
        changing = changed_in(recipe)
        assert looks in planned and "0.region" in changing
        for name in changing - {"0.round"}:
            assert not load(planned[name].entry.use)[0].reads_images, name


def changed_in(recipe: str) -> set[str]:
    base = (f"specialists={recipe}", "refine.complete=[]")
    before, after = nodes(*base), nodes(*base, "filters.region.min_score=0.5")
    return {name for name in before if before[name].fingerprint != after[name].fingerprint}


def test_a_composer_runs_behind_the_filter_whatever_its_after_says() -> None:
    names = list(nodes("specialists.caption.after=[detect]", "~filters.triplet"))
    assert names.index("0.region") < names.index("0.caption")
    without = list(nodes("~filters.region"))
    assert without[:9] == [f"0.{name}" for name in parse(compose([])).specialists]


def test_a_later_round_writes_composed_texts_anew_behind_the_filter() -> None:
    run = parse(compose([]))
    head = graph.round_zero(run)[-1]
    models = graph.RoundModels([graph.TrainedModel("models/01", "digest")])
    made = graph.next_round(run, 1, head, models, run.refine.merge)
    names = [node.name.partition(".")[2] for node in made]
    assert names == [
        *("refine", "merge", "region_text", "score", "segment", "region"),
        *("caption", "describe", "parse", "ground", "text", "triplet", "round"),
    ]


def test_a_specialist_setting_changes_what_reads_it_and_leaves_the_rest() -> None:
    assert {"0.ocr", "0.describe", "0.parse", "0.round"} <= changed("specialists.ocr.min_score=0.2")
    assert not changed("specialists.ocr.min_score=0.2") & {"0.detect", "0.segment", "0.score"}


def test_batch_size_and_threads_are_part_of_the_recipe() -> None:
    assert "0.detect" in changed("specialists.detect.batch_size=8")
    assert "0.detect" in changed("cluster.groups.specialists.threads=2")


def test_data_paths_and_worker_counts_are_not() -> None:
    assert (
        changed("work=elsewhere", "source.count=9", "source.limit=3", "cluster.workers=8") == set()
    )


def test_a_models_content_is_in_the_recipe_its_path_is_not(tmp_path: Path) -> None:
    marks = []
    for name, content in (("a.onnx", b"one"), ("b.onnx", b"one"), ("c.onnx", b"two")):
        (tmp_path / name).write_bytes(content)
        marks.append(
            nodes(
                "experiment=photos",
                "source.path=x",
                f"specialists.detect.weights={tmp_path / name}",
            )["0.detect"]
        )
    assert marks[0].fingerprint == marks[1].fingerprint != marks[2].fingerprint
    assert marks[0].revision == content_hash(str(tmp_path / "b.onnx"))


def test_stages_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="wait for each other"):
        nodes("specialists.detect.after=[caption]")


def test_the_plan_redoes_what_changed_inputs_touch_and_stops_where_outputs_are_equal(
    tmp_path: Path,
) -> None:
    store = Store(str(tmp_path))
    planned = [nodes()["0.detect"], nodes()["0.region_text"]]

    def publish(node: graph.Node, state: ShardState, content: str) -> ShardState:
        inputs = shard_state.input_digest(node, state)
        assert inputs
        manifest = Manifest(
            shard="s",
            inputs=inputs,
            files={node.table("s"): FileDigest(content, 1)},
            samples={"in": 0, "kept": 0, "dropped": {}, "failed": {}},
        )
        store.publish_manifest(node.folder, manifest)
        return state.with_(node.name, manifest.digests)

    old = ShardState({IMAGES: "pixels"})
    assert shard_state.plan(store, planned, {"s": old}).states == {"s": old}
    done = old
    for node in planned:
        done = publish(node, done, f"made by {node.name}")
    plan = shard_state.plan(store, planned, {"s": old})
    assert plan.states == {"s": done} and plan.stale == []

    corrected = ShardState({IMAGES: "other pixels"})
    other = shard_state.plan(store, planned, {"s": corrected})
    assert set(other.states["s"].outputs) == {IMAGES}
    assert {stale.folder for stale in other.stale} == {node.folder for node in planned}
    other.withdraw_stale(store)
    assert shard_state.plan(store, planned, {"s": old}).states == {"s": old}


def test_a_hub_model_is_told_by_its_commit() -> None:
    detect = nodes("specialists=pretrained", "specialists.detect.device=cpu")["0.detect"]
    assert len(detect.revision) == 40 and detect.revision == detect.entry.options.revision
