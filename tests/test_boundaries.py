"""Imports go one way, and nothing heavy is loaded before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT, files


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


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
        "stages.checkpoints",
        "stages.geometry",
        "stages.hub",
        "stages.registry",
        "stages.image_file",
        "stages.ingest",
        "stages.source",
        "stages.lines",
        "stages.links",
        "stages.ranges",
        "stages.dedup",
        "stages.errors",
        "stages.patience",
        "stages.remote",
        "stages.florence",
    }
    allowed |= {"stages.florence.model", "stages.florence.tasks", "stages.florence.training"}
    allowed |= {"stages.florence.config", "stages.florence.limits", "stages.florence.sizes"}
    # The loop adds the second look to every round, and counts what it says.
    allowed |= {"stages.florence.refine_config", "stages.florence.witness"}
    # What a COCO file means, for the source and for those who measure by such a file.
    allowed |= {"stages.sources.coco_file", "stages.sources.coco_grid", "stages.sources.coco_names"}
    allowed |= {"stages.sources.coco_labels", "stages.sources.shapes", "stages.upright"}
    allowed.add("stages.sources.labelstudio_file")
    assert {name for name in imported(path) if name.split(".")[0] == "stages"} <= allowed


# The floors of `pipeline/`, the highest first. A file may import from its own floor and from those
# below it. Folders on one floor do not import from each other.
FLOORS = [
    {"cli"},
    {"commands"},
    {"review"},
    {"drills", "release", "submit"},
    {"maintenance"},
    {"report"},
    {"benches", "studies"},
    {"refinement"},
    {"ingest", "training"},
    {"execution"},
    {"plan", "models"},
    {"config"},
    {"quality"},
    {"storage"},
    {"rows"},
    {"schema", "errors"},
]


def module_of(path: Path) -> str:
    """The dotted name of a file of the project."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_files(path: Path, modules: set[str]) -> set[str]:
    """Those of `modules` that a file imports, also as `from package import file`."""
    names = imported(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return (names & modules) - {module_of(path)}


def floor_of(module: str) -> int:
    """The number of a module's floor; 0 is the highest."""
    part = module.split(".")[1]
    (floor,) = (number for number, parts in enumerate(FLOORS) if part in parts)
    return floor


def upward(module: str, others: set[str]) -> list[str]:
    """Those of the imported modules that `module` must not import."""
    wrong = []
    for other in sorted(others):
        is_same_folder = module.split(".")[1] == other.split(".")[1]
        if not is_same_folder and floor_of(other) <= floor_of(module):
            wrong.append(other)
    return wrong


def circle(imports: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of imports, empty when there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(imports.get(module, ())):
            found = visit(other, [*path, module])
            if found:
                return found
        done.add(module)
        return []

    for module in sorted(imports):
        found = visit(module, [])
        if found:
            return found
    return []


@pytest.mark.parametrize("path", files("pipeline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_pipeline_imports_from_its_own_floor_and_downward(path: Path) -> None:
    modules = {module_of(file) for file in files("pipeline")} - {"pipeline"}
    if path != ROOT / "pipeline/__init__.py":
        assert upward(module_of(path), imported_files(path, modules)) == []


def packages() -> list[Path]:
    """The folders without circles of imports: `pipeline`, `stages`, and each part of `stages`."""
    parts = (file.parent for file in files("stages"))
    return sorted({ROOT / "pipeline", *parts})


@pytest.mark.parametrize("package", packages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_files_import_each_other_in_a_circle(package: Path) -> None:
    paths = sorted(package.rglob("*.py"))
    modules = {module_of(path) for path in paths if path.name != "__init__.py"}
    assert circle({module_of(path): imported_files(path, modules) for path in paths}) == []


def test_an_import_upward_is_found() -> None:
    assert upward("pipeline.plan.graph", {"pipeline.refinement.rules", "pipeline.config.run"}) == [
        "pipeline.refinement.rules"
    ]
    assert upward("pipeline.ingest.shard", {"pipeline.training.run"}) == ["pipeline.training.run"]
    assert upward("pipeline.cli", {"pipeline.commands.bench", "pipeline.schema"}) == []


def test_a_circle_of_imports_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.subprocess
def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'ray', 'transformers', 'spacy', 'pyarrow', 'cv2')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.subprocess
def test_florence_runs_without_ray_and_spacy() -> None:
    code = (
        "import sys; sys.modules['ray'] = sys.modules['spacy'] = None\n"
        "import importlib, pkgutil, stages.florence as package\n"
        "for module in pkgutil.iter_modules(package.__path__):\n"
        "    importlib.import_module(f'stages.florence.{module.name}')\n"
        "from stages.florence.model import load; from stages.florence.generation import Question\n"
        "from stages.florence.inference import FlorenceInference\n"
        "import numpy as np; model = FlorenceInference(load('nano'), 64)\n"
        "question = Question(0, 'What does the image describe?', 'text', max_tokens=4)\n"
        "features = model.encode_images([np.zeros((64, 64, 3), np.uint8)])\n"
        "print(len(model.answer(features, [question])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "1"


@pytest.mark.subprocess
def test_the_top_level_holds_only_what_belongs_there() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        # An unpacked archive may hold outputs beside the files that belong to the project.
        pytest.skip("only git tells which files belong to the project")
    names = {name.split("/")[0] for name in listed.stdout.splitlines()}
    visible = {name for name in names if not name.startswith(".")}
    folders = {"pipeline", "stages", "configs", "tests", "scripts"}
    assert visible == {*folders, "pyproject.toml", "README.md", "LICENSE"}
