"""Picks each region's brief text by image-text similarity.

In: image, candidates. Out: `brief`.

Paper section 4.3: Florence-1 scores the category, the crop's caption and its noun chunks against
the region, and the most similar text wins. This takes any two-tower model of `transformers`
(SigLIP, SigLIP 2, CLIP). A candidate's `score` is the cosine between its embedding and the crop's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.schema import Annotations, Region
from stages.base import Batch, Result
from stages.checkpoints import CheckpointNeeds, architecture_ends_with
from stages.ranges import Share
from stages.specialists.batching import map_batches
from stages.specialists.images import crop_box, grey_image, to_pil
from stages.specialists.pretrained import (
    PretrainedConfig,
    check_pretrained,
    choose_device,
    load_pretrained,
    probe,
    wrong_architecture,
)
from stages.specialists.selection import choose_candidate, needs_choice

if TYPE_CHECKING:
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling


def _has_two_towers(config: dict[str, Any]) -> bool:
    has_both = "text_config" in config and "vision_config" in config
    return has_both and architecture_ends_with(config, "Model")


NEEDS = CheckpointNeeds("a two-tower model such as SigLIP or CLIP", _has_two_towers, tokenizer=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTextScoreConfig(PretrainedConfig):
    """Settings of `image_text_score`."""

    template: str = "{}"
    """Text around a candidate, which replaces the braces, such as `a photo of {}`."""

    context: float = 0.1
    """Margin of the crop on each side, as a share of the box's side."""

    min_score: Share = 0.05
    """Regions with a lower score get no brief text."""

    def __post_init__(self) -> None:
        if "{}" not in self.template:
            raise ValueError(f"template={self.template}: write {{}} where the candidate goes")


class ImageTextScore:
    """Scores the candidates of every region that has no brief text, and picks the best."""

    version: ClassVar[int] = 1
    reads_images: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("candidate_texts",)
    gives: ClassVar[tuple[str, ...]] = ()
    revises: ClassVar[tuple[str, ...]] = ("regions",)

    def __init__(self, config: ImageTextScoreConfig) -> None:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        self.check(config)
        self.config = config
        self.device = choose_device(config)
        self.model = load_pretrained(AutoModel, config)
        if not hasattr(self.model, "get_image_features"):
            raise wrong_architecture(config, self.model, "a two-tower model such as SigLIP or CLIP")
        self.image_processor = load_pretrained(AutoImageProcessor, config)
        self.tokenizer = load_pretrained(AutoTokenizer, config)
        self.text_length = self.model.config.text_config.max_position_embeddings
        probe(config, lambda: (self.embed_images([grey_image()]), self.embed_texts(["a dog"])))

    @staticmethod
    def check(config: ImageTextScoreConfig) -> None:
        """See `stages.base.Stage`."""
        check_pretrained(config, NEEDS)

    def __call__(self, batch: Batch) -> list[Result]:
        regions: list[Region] = []
        sample_indices = []
        crops = []
        for index, sample in enumerate(batch):
            for region in needs_choice(sample, self.config.min_score):
                crop = crop_box(sample.pixels, region.box, self.config.context)
                regions.append(region)
                sample_indices.append(index)
                crops.append(crop)
        crop_embeddings = self.embed_images(crops)
        text_embeddings = self._embed_candidates(regions)

        chosen: list[list[Region]] = [[] for _ in batch]
        rows = zip(sample_indices, regions, crop_embeddings, strict=True)
        for index, region, crop_embedding in rows:
            scores = []
            for candidate in region.candidates:
                text_embedding = text_embeddings[candidate.text]
                cosine = crop_embedding @ text_embedding
                scores.append(float(cosine))
            chosen[index].append(choose_candidate(region, scores))
        return [Annotations(regions=sample_regions) for sample_regions in chosen]

    def embed_images(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """A (d,) float32 embedding of length 1 for each image, (height, width, 3) uint8 RGB."""
        return map_batches(images, self._embed_image_batch, self.config.rows)

    def embed_texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """A (d,) float32 embedding of length 1 for each text, put into the template."""
        filled = [self.config.template.format(text) for text in texts]
        return map_batches(filled, self._embed_text_batch, self.config.rows)

    def _embed_candidates(self, regions: Sequence[Region]) -> dict[str, np.ndarray]:
        """The embedding of every distinct candidate text."""
        texts: dict[str, None] = {}
        for region in regions:
            for candidate in region.candidates:
                texts[candidate.text] = None
        embeddings = self.embed_texts(list(texts))
        return dict(zip(texts, embeddings, strict=True))

    def _embed_image_batch(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The embeddings of images that go through the model at once."""
        pictures = [to_pil(image) for image in images]
        inputs = self.image_processor(images=pictures, return_tensors="pt")
        inputs = inputs.to(self.device, self.model.dtype)
        return _unit_embeddings(self.model.get_image_features, inputs)

    def _embed_text_batch(self, texts: list[str]) -> list[np.ndarray]:
        """The embeddings of texts that go through the model at once."""
        # Padded to the full length, as in training. So the embedding of a text does not depend on
        # the other texts of its batch.
        inputs = self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self.text_length,
            return_tensors="pt",
        )
        # The text towers do not take this output of BERT's tokenizers.
        inputs.pop("token_type_ids", None)
        return _unit_embeddings(self.model.get_text_features, inputs.to(self.device))


def _unit_embeddings(
    embed: Callable[..., BaseModelOutputWithPooling], inputs: Mapping[str, torch.Tensor]
) -> list[np.ndarray]:
    """The outputs of a tower, divided by their length; `inputs` are a processor's."""
    import torch

    with torch.inference_mode():
        output = embed(**inputs)
        assert output.pooler_output is not None
        embeddings = output.pooler_output.float()
        unit = torch.nn.functional.normalize(embeddings, dim=-1)
    return list(unit.cpu().numpy())
