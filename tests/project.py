"""The files of the project, for tests that read its code."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def files(package: str) -> list[Path]:
    """The Python files of `pipeline` or `stages`, sorted."""
    return sorted((ROOT / package).rglob("*.py"))
