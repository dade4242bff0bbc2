"""What the tiny random checkpoints share, and those that score an image and a text."""

from __future__ import annotations

from typing import Any

WORDS = (
    "a",
    "the",
    "red",
    "blue",
    "circle",
    "star",
    "dog",
    "cat",
    "runs",
    "sits",
    "beside",
    "person",
)
VOCABULARY = 1100
# The places of BERT's special tokens, which Grounding DINO knows by number.
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, ",": 1013, "?": 1029}
ATTENTION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = {**ATTENTION, "image_size": 32, "patch_size": 8}
SQUARE = {"height": 32, "width": 32}


def tokenizer(**more: Any) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    taken = {*SPECIAL.values(), *range(200, 200 + len(WORDS))}
    vocabulary = {f"word{i}": i for i in range(VOCABULARY) if i not in taken}
    vocabulary |= SPECIAL | {word: 200 + i for i, word in enumerate(WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        **more,
    )


def clip() -> list[Any]:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    text = {
        **ATTENTION,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 12,
        "eos_token_id": 102,
    }
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)
    return [
        CLIPModel(config),
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE),
        tokenizer(),
    ]


def siglip() -> list[Any]:
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    text = {
        **ATTENTION,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 12,
        "projection_size": 16,
    }
    config = SiglipConfig(text_config=text, vision_config=VISION)
    return [SiglipModel(config), SiglipImageProcessorPil(size=SQUARE), tokenizer()]


def siglip2() -> list[Any]:
    """The variant with any aspect: patches of a shape that depends on the image."""
    from transformers import Siglip2Config, Siglip2ImageProcessorPil, Siglip2Model

    text = {
        **ATTENTION,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 12,
        "projection_size": 16,
    }
    config = Siglip2Config(
        text_config=text, vision_config={**ATTENTION, "patch_size": 8, "num_patches": 16}
    )
    return [
        Siglip2Model(config),
        Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16),
        tokenizer(),
    ]
