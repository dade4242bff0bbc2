"""One small run from end to end, and what strangers read of it."""

import hashlib
import io
import json
import resource
import shutil
import subprocess
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset

from tests.conftest import NO_FOLDER
from tests.system.conftest import SMALL, fld, fld_here, published

pytestmark = pytest.mark.ray

ROUNDS = 2


def shards(work: Path, number: int) -> list[Path]:
    (folder,) = work.glob(f"rounds/{number:02d}-*")
    return sorted((folder / "shards").glob("*.tar"))


def manifest_samples(work: Path, number: int) -> int:
    (folder,) = work.glob(f"rounds/{number:02d}-*")
    return sum(
        json.loads(path.read_text())["samples"]["in"] for path in (folder / "manifests").iterdir()
    )


def stored_images(work: Path) -> dict[str, str]:
    return {
        row["key"]: row["sha256"]
        for path in work.glob("images/*.parquet")
        for row in pq.read_table(path).to_pylist()
    }


def test_the_table_of_rounds_the_head_and_the_report_are_there(
    small_run: Path, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(small_run, tmp_path / "work"))
    done = fld_here("report", str(work))
    assert done.returncode == 0
    assert "regions with attributes" in done.stdout and "report.html" in done.stdout
    head = json.loads((work / "head.json").read_text())
    assert len(head["attempts"]) == ROUNDS
    assert head["round"] in {
        attempt["round"] for attempt in head["attempts"] if attempt["status"] == "accepted"
    }


@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_round_is_read_by_webdataset(small_run: Path, number: int) -> None:
    stored = stored_images(small_run)
    for kind in ("jpg", "pil"):
        data = webdataset.WebDataset(
            [str(p) for p in shards(small_run, number)], shardshuffle=False
        )
        samples = list(data.decode("pil") if kind == "pil" else data)
        assert len(samples) == len(stored) == manifest_samples(small_run, number)
        for sample in samples:
            if kind == "jpg":
                assert hashlib.sha256(sample["jpg"]).hexdigest() == stored[sample["__key__"]]
            else:
                assert sample["jpg"].size == (sample["json"]["width"], sample["json"]["height"])


@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_round_is_read_by_plain_tar(small_run: Path, number: int) -> None:
    stored = stored_images(small_run)
    seen = {}
    for path in shards(small_run, number):
        listing = subprocess.run(
            ["tar", "-tf", str(path)], capture_output=True, text=True, check=True
        ).stdout.split()
        for name in (n for n in listing if n.endswith(".json")):
            text = subprocess.run(
                ["tar", "-xOf", str(path), name], capture_output=True, check=True
            ).stdout
            record = json.loads(text)
            seen[record["key"]] = record["sha256"]
    assert seen == stored


@pytest.mark.usefixtures("local_ray")
def test_a_round_is_read_by_ray_data(small_run: Path) -> None:
    import ray

    rows = ray.data.read_webdataset([str(p) for p in shards(small_run, 0)], decoder=None).take_all()
    assert {
        row["__key__"]: hashlib.sha256(row["jpg"]).hexdigest() for row in rows
    } == stored_images(small_run)


def test_the_index_leads_to_the_bytes_of_each_sample(small_run: Path) -> None:
    (folder,) = small_run.glob("rounds/01-*")
    stored = stored_images(small_run)
    for row in pq.read_table(folder / "index.parquet").to_pylist():
        data = (folder / "shards" / f"{row['shard']}.tar").read_bytes()
        image = data[row["image_offset"] : row["image_offset"] + row["image_size"]]
        record = json.loads(data[row["json_offset"] : row["json_offset"] + row["json_size"]])
        assert hashlib.sha256(image).hexdigest() == stored[row["key"]]
        assert row["regions"] == sum(r["dropped"] is None for r in record["annotations"]["regions"])


def test_a_record_holds_every_annotation_with_its_origin_and_its_fate(small_run: Path) -> None:
    for path in shards(small_run, 1):
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
            names = [n for n in tar.getnames() if n.endswith(".json")]
            records = [json.load(tar.extractfile(n)) for n in names]  # type: ignore[arg-type]
        for record in records:
            ids = [a["id"] for kind in record["annotations"].values() for a in kind]
            assert len(ids) == len(set(ids)) > 0
            for kind in record["annotations"].values():
                for annotation in kind:
                    assert annotation["source"] and annotation["model"]
                    assert set(annotation["parents"]) <= set(ids)


def test_running_again_recomputes_nothing_and_is_quick(small_run: Path, tmp_path: Path) -> None:
    work = Path(shutil.copytree(small_run, tmp_path / "work"))
    before = published(work)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = fld("run", f"work={work}", *SMALL, env={"RAY_TMPDIR": NO_FOLDER})
    assert done.returncode == 0, done.stderr[-3000:]
    # Seconds of the processor, not of the clock: other tests run at the same time.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - children.ru_utime < 15
    assert published(work) == before
    assert "specialists" not in done.stderr and "train" not in done.stderr


def test_plan_says_that_nothing_is_to_do(small_run: Path) -> None:
    lines = json.loads(fld_here("plan", f"work={small_run}", "--json", *SMALL).stdout)["stages"]
    assert {line["stage"] for line in lines} >= {
        "ingest",
        "0.detect",
        "0.round",
        "1.train",
        "1.refine",
        "1.merge",
        "1.round",
    }
    assert {line["todo"] for line in lines} == {0}


def test_status_counts_what_is_done_by_stage(small_run: Path) -> None:
    state = json.loads(fld_here("status", str(small_run), "--json").stdout)
    assert state["state"] == "finished"
    stages = {stage["stage"]: stage for stage in state["stages"]}
    assert (stages["0.detect"]["done"], stages["0.detect"]["total"]) == (3, 3)
    assert stages["1.refine"]["samples"] == {"in": 12, "kept": 12, "failed": {}}
    assert state["rounds"][0]["status"] == "accepted"


def test_explain_tells_the_story_of_a_sample(small_run: Path) -> None:
    text = fld_here("explain", str(small_run), "scene_000005").stdout
    for part in (
        "sha256",
        "0.detect",
        "0.ocr",
        "0.region",
        "1.refine",
        "1.merge",
        "round 00-",
        "round 01-",
    ):
        assert part in text
    missing = fld_here("explain", str(small_run), "nobody")
    assert missing.returncode == 2 and "nobody: no such sample" in missing.stderr
