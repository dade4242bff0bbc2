"""Imports go one way, and nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", files("stages"), ids=lambda p: str(p.relative_to(ROOT)))
def test_stages_import_no_ray_and_of_the_pipeline_only_its_records(path: Path) -> None:
    for name in imported(path):
        assert name.split(".")[0] != "ray"
        assert not name.startswith("pipeline") or name == "pipeline.schema"


@pytest.mark.parametrize("path", files("pipeline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_pipeline_imports_no_torch_and_ray_train_in_one_file(path: Path) -> None:
    for name in imported(path):
        assert name.split(".")[0] != "torch"
        assert not name.startswith("ray.train") or path.as_posix().endswith("training/run.py")


@pytest.mark.parametrize("path", files("pipeline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_pipeline_reaches_stages_by_registry_name(path: Path) -> None:
    allowed = {
        "stages",
        "stages.base",
        "stages.geometry",
        "stages.registry",
        "stages.ingest",
        "stages.dedup",
        "stages.florence",
    }
    allowed |= {"stages.florence.model", "stages.florence.tasks", "stages.florence.training"}
    assert {name for name in imported(path) if name.split(".")[0] == "stages"} <= allowed


def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'ray', 'transformers', 'spacy', 'pyarrow', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_florence_runs_without_ray_and_spacy() -> None:
    code = (
        "import sys; sys.modules['ray'] = sys.modules['spacy'] = None\n"
        "import importlib, pkgutil, stages.florence as package\n"
        "for each in pkgutil.iter_modules(package.__path__): importlib.import_module(f'stages.florence.{each.name}')\n"
        "from stages.florence.model import load; from stages.florence.inference import Engine, Question, read\n"
        "import numpy as np; engine = Engine(load('nano'), 64)\n"
        "question = Question(0, 'What does the image describe?', 'text', max_tokens=4)\n"
        "print(len(engine.ask(engine.look([np.zeros((64, 64, 3), np.uint8)]), [question])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "1"
