"""Picks each region's brief text by image-text similarity. In: image, candidates. Out: `brief`, scored
candidates.

Paper section 4.3: Florence-1 scores the category, the crop's caption and its noun chunks against the region,
and the most similar one wins. Here it is any two-tower model of `transformers` (SigLIP, SigLIP 2, CLIP); a
candidate's `score` is the cosine of its embedding and the crop's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Region
from stages.base import Batch, Result, Sample
from stages.specialists.pretrained import PretrainedConfig, crop, device, load, mapped, picture
from stages.specialists.work import todo

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTextScoreConfig(PretrainedConfig):
    template: str = "{}"  # around a candidate, such as "a photo of {}"
    context: float = 0.1  # margin of the crop, as a share of the box's sides
    min_score: float = 0.05  # regions below are left alone


def choose(region: Region, scores: Sequence[float]) -> Region:
    """The region with scored candidates and the best of them (the first of equals) as its brief text."""
    scored = [replace(c, score=s) for c, s in zip(region.candidates, scores, strict=True)]
    best = max(scored, key=lambda c: c.score or 0.0)
    return replace(region, candidates=scored, brief=best.text, brief_kind=best.kind)


class ImageTextScore:
    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True

    def __init__(self, config: ImageTextScoreConfig) -> None:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        self.config, self.device = config, device(config)
        self.model = load(AutoModel, config)
        self.images, self.words = load(AutoImageProcessor, config), load(AutoTokenizer, config)
        self.length = self.model.config.text_config.max_position_embeddings

    def __call__(self, batch: Batch) -> list[Result]:
        todo = [(i, r) for i, sample in enumerate(batch) for r in self.todo(sample)]
        crops = [crop(batch[i].pixels, r.box, self.config.context) for i, r in todo]
        texts = list(dict.fromkeys(c.text for _, r in todo for c in r.candidates))
        seen, read = (
            self.embed_images(crops),
            dict(zip(texts, self.embed_texts(texts), strict=True)),
        )
        chosen: list[list[Region]] = [[] for _ in batch]
        for (i, region), pixels in zip(todo, seen, strict=True):
            scores = [float(pixels @ read[c.text]) for c in region.candidates]
            chosen[i].append(choose(region, scores))
        return [Annotations(regions=regions) for regions in chosen]

    def todo(self, sample: Sample) -> list[Region]:
        regions = todo(sample, sample.annotations.regions, self.config.min_score)
        return [r for r in regions if r.candidates and r.brief is None]

    def embed_images(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        def embed(piece: Sequence[np.ndarray]) -> list[np.ndarray]:
            inputs = self.images(images=[picture(c) for c in piece], return_tensors="pt")
            return self._unit(
                self.model.get_image_features, dict(inputs.to(self.device, self.model.dtype))
            )

        return mapped(crops, embed, self.config.rows)

    def embed_texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        def embed(piece: list[str]) -> list[np.ndarray]:
            # The full length, as in training; and so a text's embedding does not depend on its neighbours.
            inputs = self.words(
                piece,
                padding="max_length",
                truncation=True,
                max_length=self.length,
                return_tensors="pt",
            )
            inputs.pop("token_type_ids", None)
            return self._unit(self.model.get_text_features, dict(inputs.to(self.device)))

        return mapped(
            [self.config.template.format(text) for text in texts], embed, self.config.rows
        )

    def _unit(self, embed: Callable[..., Any], inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
        """Embeddings of length 1."""
        import torch

        with torch.inference_mode():
            vectors = embed(**inputs).pooler_output.float()
            return list(torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy())
