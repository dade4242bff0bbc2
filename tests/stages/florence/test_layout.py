"""The files of stages/florence import each other in one direction only."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "stages" / "florence"
PACKAGE = "stages.florence"


def imported_files(path: Path) -> set[str]:
    """Names of the files of the folder that a file imports, also only for type checking."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        module = node.module
        if module == PACKAGE:
            names.update(alias.name for alias in node.names)
        elif module.startswith(f"{PACKAGE}."):
            names.add(module.removeprefix(f"{PACKAGE}."))
    return names


def test_no_imports_go_in_a_circle() -> None:
    graph = {path.stem: imported_files(path) for path in FOLDER.glob("*.py")}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError on a circle
    assert order.index("codec") < order.index("forward") < order.index("training")
