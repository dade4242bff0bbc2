"""The vision tower of a Florence-2 alone, as a backbone for other tasks (paper, section 6.4).

`export` writes it as a `transformers` folder for `Florence2VisionBackbone.from_pretrained`;
AutoModel does not know that class. Where timm's DaViT computes the same, it also writes a state
dict with timm's names. The models `davit_base_fl` and `davit_huge_fl` of `timm.create_model` load
it with `strict=False`, because it has no head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages.florence.model import load

if TYPE_CHECKING:
    import torch
    from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

TIMM = "timm.safetensors"

# Regular expressions of the names of `transformers`, and what timm has in their place.
_RENAMES = (
    (r"^convs\.0\.", "stem."),
    (r"^convs\.(\d+)\.", r"stages.\1.downsample."),
    (r"^blocks\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"\.conv([12])\.(?=weight|bias)", r".cpe\1.proj."),
    (r"\.(window|channel)_attn\.", ".attn."),
    (r"\.ffn\.", ".mlp."),
)


def export(model: str, out: Path) -> dict[str, object]:
    """Write the vision tower of a checkpoint.

    Args:
        model: a folder, a hub name or `nano`.
        out: the folder to write.

    Returns:
        `transformers`: the folder; `timm`: the file for timm, or "none: " and the reason;
        `parameters`: their number.
    """
    from safetensors.torch import save_file

    tower = load(model).model.model.vision_tower
    tower.save_pretrained(out)
    difference = timm_difference(tower.config)
    written = f"none: {difference}"
    if not difference:
        renamed = timm_names(tower.state_dict())
        save_file({name: value.contiguous() for name, value in renamed.items()}, out / TIMM)
        written = str(out / TIMM)
    parameters = sum(parameter.numel() for parameter in tower.parameters())
    return {"transformers": str(out), "timm": written, "parameters": parameters}


def timm_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the tower's weights as in timm's `davit_*_fl`.

    Args:
        state: the weights by their names in `transformers`, of any shape and dtype.

    Returns:
        The same tensors (same shape, dtype and memory) by their names in timm.
    """
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def timm_difference(config: Florence2VisionConfig) -> str:
    """Return why timm's DaViT would compute something else; empty if it computes the same."""
    later_stages = len(config.embed_dim) - 1
    expected = {
        "patch_size": [7, *[3] * later_stages],
        "patch_stride": [4, *[2] * later_stages],
        "patch_prenorm": [False, *[True] * later_stages],
        "num_groups": list(config.num_heads),
    }
    for setting, timm_value in expected.items():
        value = list(getattr(config, setting))
        if value != timm_value:
            return f"{setting} is {value}, timm's DaViT has {timm_value}"
    return ""
