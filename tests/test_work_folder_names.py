"""The names in a work folder are spelled in the layout files of `pipeline/storage` only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import ROOT, files

STORAGE = ROOT / "pipeline/storage"
WORK_LAYOUTS = tuple(
    STORAGE / name
    for name in ("layout.py", "layout_dedup.py", "layout_journal.py", "layout_training.py")
)
LAYOUTS = (*WORK_LAYOUTS, STORAGE / "layout_release.py")
STORE_METHODS = {
    *("read", "read_json", "read_json_list", "read_manifest", "open", "exists", "size"),
    *("usage", "list", "path"),
    *("publish", "publish_json", "publishing", "remove", "local_copy"),
    *("done", "counts", "manifests", "publish_manifest", "withdraw", "withdrawn"),
}
NOT_OF_THE_WORK_FOLDER = {
    ("pipeline/report/html.py", "report.html"),  # a template of the page
    ("pipeline/training/progress.py", "train/{}"),  # the name of a curve for TensorBoard
    ("pipeline/quality/tables.py", "statistics.json"),  # what `fld stats` writes
    ("pipeline/benches/simulated.py", "{}.tar"),  # a source
    ("pipeline/benches/decisions_at_4f27899.py", "rounds/00-{}"),  # of an earlier commit
    ("pipeline/benches/decisions_at_4f27899.py", "signals/{}-{}"),
    # Folders of exports.
    ("pipeline/release/florence_export.py", "images/{}"),
    ("pipeline/release/parquet_export.py", "data/{}-{}-of-{}.parquet"),
    ("pipeline/release/yolo.py", "images/{}"),
}


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string but docstrings; the values in f-strings read as `{}`."""
    if isinstance(tree, ast.JoinedStr):
        parts = [str(v.value) if isinstance(v, ast.Constant) else "{}" for v in tree.values]
        yield tree.lineno, "".join(parts)
        for value in tree.values:
            if isinstance(value, ast.FormattedValue):
                yield from strings(value.value)
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.lineno, tree.value
    for child in ast.iter_child_nodes(tree):
        is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not is_docstring:
            yield from strings(child)


def names_in_a_work_folder() -> tuple[set[str], set[str], set[str]]:
    """Names of files, names of folders, and parts of names, from the code of `WORK_LAYOUTS`."""
    segments: set[str] = set()
    for layout in WORK_LAYOUTS:
        for _, text in strings(ast.parse(layout.read_text())):
            segments |= set(text.split("/"))
    plain = {segment for segment in segments if segment and "{" not in segment}
    files = {name for name in plain if "." in name and not name.startswith((".", "-"))}
    folders = {name for name in plain if name.isidentifier()} - {"model"}
    parts = {"shard-", "step-", "hashes-", "{}.parquet", "{}.tar", "{}.done"}
    return files, folders, parts


def paths_of_the_work_folder(code: str) -> list[str]:
    """The strings of a file that spell a place in the work folder.

    Texts for people may name one; they are told by their spaces.
    """
    files, folders, parts = names_in_a_work_folder()
    tree = ast.parse(code)
    found = []
    for line, text in strings(tree):
        segments = text.split("/")
        is_file = any(segment in files for segment in segments)
        is_folder = len(segments) > 1 and any(segment in folders for segment in segments)
        is_part = any(part in text for part in parts)
        if " " not in text and (is_file or is_folder or is_part):
            found.append(f"line {line}: {text}")
    for node in ast.walk(tree):
        if (
            not isinstance(node, ast.Call)
            or not isinstance(node.func, ast.Attribute)
            or not node.args
        ):
            continue
        owner, method, name = ast.unparse(node.func.value), node.func.attr, node.args[0]
        is_store = owner.rpartition(".")[2] in ("store", "_store") and method in STORE_METHODS
        if is_store and isinstance(name, ast.Constant | ast.JoinedStr):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", files("pipeline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_places_in_the_work_folder_are_named_in_one_file(path: Path) -> None:
    if path in LAYOUTS:
        return
    found = paths_of_the_work_folder(path.read_text())
    name = path.relative_to(ROOT).as_posix()
    allowed = [text for file, text in NOT_OF_THE_WORK_FOLDER if file == name]
    assert [place for place in found if place.partition(": ")[2] not in allowed] == []


@pytest.mark.parametrize(
    "code",
    [
        'store.read_json("head.json")',
        'name = f"{folder}/round.json"',
        'table = f"{IMAGES}/{shard}.parquet"',
        'folder = f"rounds/{name}"',
        'store.list(f"{folder}/manifests")',
        'store.list("signals")',
        'mark = f"journal/{name}"',
        'shard = f"shard-{number:06d}"',
        'self.store.publish_json(f"{a}/{b}", {})',
    ],
)
def test_a_place_in_the_work_folder_that_is_spelled_out_is_found(code: str) -> None:
    assert paths_of_the_work_folder(code)


def test_texts_for_people_and_other_names_are_no_places_in_the_work_folder() -> None:
    code = '''
"""Docstrings may say journal/graph.json."""
raise ValueError(f"{url}: no round there; give WORK/rounds/NN-..")
row = {"images": 1, "index": 2, "model": f"{name}.jpg"}
'''
    assert paths_of_the_work_folder(code) == []
