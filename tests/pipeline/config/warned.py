"""Words of a command line, and the warnings that they give."""

from __future__ import annotations

from pipeline.config.compose import compose
from pipeline.config.effects import typed_names, warnings
from pipeline.config.parse import parse

FOLDER = ("source=folder", "source.path=photos")
WEBDATASET = ("source=webdataset", "source.path=tars")
FUSED = "specialists.fused={use: fuse, sources: [detect, other], after: [detect]}"
OTHER = "specialists.other={use: contours}"
ENDPOINT = "specialists.say={use: endpoint_describe, endpoint: 'http://h', model: m"


def lines(*overrides: str) -> list[str]:
    """The warnings for a run with these words on the command line."""
    return warnings(parse(compose(list(overrides))), typed_names(overrides))
