"""The processor of a saved model, with which plain `transformers` uses the folder.

`AutoProcessor.from_pretrained(FOLDER)` then writes the prompts of the tasks, prepares images and
reads answers. The settings are those of the released checkpoints, as the conversion script of
`transformers` has them (convert_florence2_original_pytorch_to_hf.py). It shrinks images bicubically
and we average areas, so pixels differ a little unless an image has the model's size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.checkpoints import read_config
from stages.filters.triplet import listed_phrases
from stages.florence.images import DEVIATION, MEAN
from stages.florence.limits import limits_in

# The ways in which it reads answers. One that is not in its settings is refused.
_ANSWERS = (
    "pure_text",
    "ocr",
    "phrase_grounding",
    "bboxes",
    "polygons",
    "description_with_bboxes",
    "description_with_polygons",
    "description_with_bboxes_or_polygons",
)


def save_processor(folder: Path, resolution: int) -> None:
    """Write the processor of a model into the folder that `save` has made.

    Args:
        folder: has the model and its tokenizer. The tokenizer learns the name of its image token.
        resolution: side of the square images that the model was trained with, in pixels.
    """
    from transformers import AutoTokenizer, CLIPImageProcessorPil, Florence2Processor

    images = CLIPImageProcessorPil(
        size={"height": resolution, "width": resolution},
        do_center_crop=False,
        image_mean=list(MEAN),
        image_std=list(DEVIATION),
        image_seq_length=limits_in(str(folder), read_config(str(folder))).image_tokens(resolution),
    )
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, image_token="<image>")
    answers: dict[str, dict[str, object]] = {name: {} for name in _ANSWERS}
    answers["phrase_grounding"]["banned_grounding_tokens"] = listed_phrases("blacklist")
    Florence2Processor(images, tokenizer, post_processor_config=answers).save_pretrained(folder)
