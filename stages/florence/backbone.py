"""The vision tower of a Florence-2 alone, as a backbone for other tasks.

`export` writes it as a `transformers` folder (for `Florence2VisionBackbone.from_pretrained`; AutoModel does not know
that class) and, where timm's DaViT computes the same, as a state dict with timm's names: `davit_base_fl` and
`davit_huge_fl` of `timm.create_model` take it with `strict=False`, for it has no head. Paper section 6.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.florence.model import load

if TYPE_CHECKING:
    import torch

TIMM = "timm.safetensors"
_NAMES = (
    (r"^convs\.0\.", "stem."),
    (r"^convs\.(\d+)\.", r"stages.\1.downsample."),
    (r"^blocks\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"\.conv([12])\.(?=weight|bias)", r".cpe\1.proj."),
    (r"\.(window|channel)_attn\.", ".attn."),
    (r"\.ffn\.", ".mlp."),
)


def export(model: str, out: Path) -> dict[str, Any]:
    """Write the tower of a checkpoint (a folder, a hub name or `nano`); returns what was written."""
    from safetensors.torch import save_file

    tower: Any = load(model).model.model.vision_tower
    tower.save_pretrained(out)
    reason = unlike_timm(tower.config)
    if not reason:
        save_file(
            {name: value.contiguous() for name, value in timm_names(tower.state_dict()).items()},
            out / TIMM,
        )
    parameters = sum(p.numel() for p in tower.parameters())
    written = f"{out / TIMM}" if not reason else f"none: {reason}"
    return {"transformers": str(out), "timm": written, "parameters": parameters}


def timm_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tower's weights by the names of timm's `davit_*_fl`."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def unlike_timm(config: Any) -> str:
    """Why timm's DaViT would not compute the same with these weights; empty when it would."""
    stages = len(config.embed_dim)
    for what, here, there in (
        ("patch_size", config.patch_size, [7, *[3] * (stages - 1)]),
        ("patch_stride", config.patch_stride, [4, *[2] * (stages - 1)]),
        ("patch_prenorm", config.patch_prenorm, [False, *[True] * (stages - 1)]),
        ("num_groups", config.num_groups, config.num_heads),
    ):
        if list(here) != list(there):
            return f"{what} is {list(here)}, timm's DaViT has {list(there)}"
    return ""
