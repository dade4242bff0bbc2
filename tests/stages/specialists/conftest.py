"""Tiny random checkpoints of the published architectures, saved the way published ones are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

WORDS = ("a", "the", "red", "blue", "circle", "star", "dog", "cat", "runs", "sits", "beside", "person")
VOCABULARY = 1100
# The places of BERT's special tokens, which Grounding DINO knows by number.
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, ",": 1013, "?": 1029}
ATTENTION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**ATTENTION, "image_size": 32, "patch_size": 8}
SQUARE = {"height": 32, "width": 32}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a tiny checkpoint by the name of its builder below; each is made once."""
    made: dict[str, str] = {}

    def get(name: str) -> str:
        import torch

        if name not in made:
            torch.manual_seed(0)
            folder = tmp_path_factory.mktemp(name)
            model, *parts = BUILDERS[name]()
            for part in (model, *parts):
                part.save_pretrained(folder)
            made[name] = str(folder)
        return made[name]

    return get


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
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        bos_token="[CLS]", eos_token="[SEP]", **more,
    )  # fmt: skip


def clip() -> list[Any]:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    text = {**ATTENTION, "vocab_size": VOCABULARY, "max_position_embeddings": 12, "eos_token_id": 102}
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)
    return [CLIPModel(config), CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE), tokenizer()]


def siglip() -> list[Any]:
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    text = {**ATTENTION, "vocab_size": VOCABULARY, "max_position_embeddings": 12, "projection_size": 16}
    config = SiglipConfig(text_config=text, vision_config=VISION)
    return [SiglipModel(config), SiglipImageProcessorPil(size=SQUARE), tokenizer()]


def siglip2() -> list[Any]:
    """The variant with any aspect: patches of a shape that depends on the image."""
    from transformers import Siglip2Config, Siglip2ImageProcessorPil, Siglip2Model

    text = {**ATTENTION, "vocab_size": VOCABULARY, "max_position_embeddings": 12, "projection_size": 16}
    config = Siglip2Config(text_config=text, vision_config={**ATTENTION, "patch_size": 8, "num_patches": 16})
    return [Siglip2Model(config), Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16), tokenizer()]


def _backbone() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip


DETR = {
    "d_model": 32, "num_queries": 12, "encoder_layers": 1, "encoder_ffn_dim": 16, "encoder_attention_heads": 2,
    "decoder_layers": 2, "decoder_ffn_dim": 16, "decoder_attention_heads": 2,
}  # fmt: skip
NAMES = {"id2label": {0: "dog", 1: "cat", 2: "bus"}, "label2id": {"dog": 0, "cat": 1, "bus": 2}}


def _rt_detr(config: type, model: type, **more: Any) -> list[Any]:
    from transformers import RTDetrImageProcessorPil, RTDetrResNetConfig

    backbone = RTDetrResNetConfig(
        **{
            k: getattr(_backbone(), k)
            for k in ("embedding_size", "hidden_sizes", "depths", "layer_type", "out_features")
        }
    )
    settings = {
        **DETR, **NAMES, **more, "encoder_hidden_dim": 32, "encoder_in_channels": [8, 16, 16], "num_denoising": 0,
        "feat_strides": [8, 16, 32], "decoder_in_channels": [32, 32, 32], "backbone_config": backbone,
    }  # fmt: skip
    return [model(config(**settings)), RTDetrImageProcessorPil(size={"height": 64, "width": 64})]


def rt_detr() -> list[Any]:
    from transformers import RTDetrConfig, RTDetrForObjectDetection

    return _rt_detr(RTDetrConfig, RTDetrForObjectDetection)


def d_fine() -> list[Any]:
    from transformers import DFineConfig, DFineForObjectDetection

    return _rt_detr(DFineConfig, DFineForObjectDetection)


def deformable_detr() -> list[Any]:
    from transformers import (
        DeformableDetrConfig,
        DeformableDetrForObjectDetection,
        DeformableDetrImageProcessorPil,
    )

    config = DeformableDetrConfig(**DETR, **NAMES, backbone_config=_backbone(), num_feature_levels=4)
    size = {"shortest_edge": 160, "longest_edge": 240}
    return [DeformableDetrForObjectDetection(config), DeformableDetrImageProcessorPil(size=size)]


def dab_detr() -> list[Any]:
    from transformers import ConditionalDetrImageProcessorPil, DabDetrConfig, DabDetrForObjectDetection

    settings = {**DETR, "hidden_size": 32, "backbone_config": _backbone()}
    settings.pop("d_model")
    size = {"shortest_edge": 160, "longest_edge": 240}
    model = DabDetrForObjectDetection(DabDetrConfig(**settings, **NAMES))
    return [model, ConditionalDetrImageProcessorPil(size=size)]


def _grounding_dino(config: type, model: type) -> list[Any]:
    from transformers import BertConfig, GroundingDinoImageProcessorPil, SwinConfig

    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    bert = BertConfig(**ATTENTION, vocab_size=VOCABULARY, max_position_embeddings=64)
    whole = config(**DETR, backbone_config=swin, text_config=bert, max_text_len=24)
    size = {"shortest_edge": 160, "longest_edge": 240}
    return [model(whole), GroundingDinoImageProcessorPil(size=size), tokenizer()]


def grounding_dino() -> list[Any]:
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    return _grounding_dino(GroundingDinoConfig, GroundingDinoForObjectDetection)


def mm_grounding_dino() -> list[Any]:
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    return _grounding_dino(MMGroundingDinoConfig, MMGroundingDinoForObjectDetection)


def _sam(config: type, model: type, processor: type, **decoder: int) -> list[Any]:
    from transformers import SamImageProcessorPil

    places = {"image_size": 64, "patch_size": 16}
    whole = config(
        vision_config={
            "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 32,
            "global_attn_indexes": [0, 1], "num_pos_feats": 8, "window_size": 0, **places,
        },
        prompt_encoder_config={"hidden_size": 16, "image_embedding_size": 4, **places},
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16, **decoder,
        },
    )  # fmt: skip
    images = SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )  # fmt: skip
    return [model(whole), processor(images)]


def sam() -> list[Any]:
    from transformers import SamConfig, SamModel, SamProcessor

    return _sam(SamConfig, SamModel, SamProcessor)


def sam_hq() -> list[Any]:
    from transformers import SamHQConfig, SamHQModel, SamHQProcessor

    return _sam(SamHQConfig, SamHQModel, SamHQProcessor, vit_dim=16)


def sam2() -> list[Any]:
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2Model,
        Sam2Processor,
        Sam2VisionConfig,
    )

    backbone = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[64, 64], blocks_per_stage=[1, 2, 1, 1],
        embed_dim_per_stage=[8, 16, 24, 32], num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 2], global_attention_blocks=[2],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[32, 24, 16, 8], fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    side = {"height": 64, "width": 64}
    return [Sam2Model(config), Sam2Processor(Sam2ImageProcessor(size=side, mask_size={"height": 16, "width": 16}))]


SPEAKS = {"bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0}


def blip() -> list[Any]:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    text = {
        **ATTENTION, **SPEAKS, "vocab_size": VOCABULARY, "encoder_hidden_size": 16, "max_position_embeddings": 32,
        "sep_token_id": 102,
    }  # fmt: skip
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION))
    return [model, BlipProcessor(BlipImageProcessorPil(size=SQUARE), tokenizer())]


def blip2() -> list[Any]:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessorPil

    words = tokenizer()
    words.add_tokens(["<image>"], special_tokens=True)
    config = Blip2Config(
        vision_config=VISION,
        qformer_config={**ATTENTION, "vocab_size": 30, "encoder_hidden_size": 16},
        text_config={
            **ATTENTION, **SPEAKS, "model_type": "opt", "vocab_size": VOCABULARY + 1, "ffn_dim": 32,
            "max_position_embeddings": 64, "word_embed_proj_dim": 16,
        },
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    images = BlipImageProcessorPil(size=SQUARE)
    return [Blip2ForConditionalGeneration(config), Blip2Processor(images, words, num_query_tokens=4)]


def florence2() -> list[Any]:
    from transformers import (
        BartConfig,
        CLIPImageProcessorPil,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        Florence2VisionConfig,
    )

    words = tokenizer(extra_special_tokens={"image_token": "<image>"})
    widths = {"embed_dim": [8, 8, 16, 16], "depths": [1] * 4, "num_heads": [1] * 4, "num_groups": [1] * 4}
    text = BartConfig(
        vocab_size=VOCABULARY + 1, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
        decoder_start_token_id=102, **SPEAKS,
    )  # fmt: skip
    config = Florence2Config(
        text_config=text, image_token_id=words.image_token_id,
        vision_config=Florence2VisionConfig(**widths, window_size=4, projection_dim=16),
    )  # fmt: skip
    images = CLIPImageProcessorPil(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}, image_seq_length=5
    )
    return [Florence2ForConditionalGeneration(config), Florence2Processor(images, words)]


CHAT = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image> {% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}"
)


def llava() -> list[Any]:
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = tokenizer()
    words.add_tokens(["<image>"], special_tokens=True)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=LlamaConfig(**ATTENTION, **SPEAKS, vocab_size=VOCABULARY + 1, max_position_embeddings=128),
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE), words, patch_size=8,
        vision_feature_select_strategy="default", chat_template=CHAT, num_additional_image_tokens=1,
    )  # fmt: skip
    return [LlavaForConditionalGeneration(config), processor]


def qwen3_vl() -> list[Any]:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    words = tokenizer()
    marks = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    words.add_tokens(marks, special_tokens=True)
    image, video, start, end = words.convert_tokens_to_ids(marks)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    text = {
        **ATTENTION, **SPEAKS, "vocab_size": VOCABULARY + 4, "max_position_embeddings": 256, "head_dim": 8,
        "num_key_value_heads": 2, "rope_parameters": rope,
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 8, "out_hidden_size": 16,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    config = Qwen3VLConfig(
        text_config=text, vision_config=vision, image_token_id=image, video_token_id=video,
        vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    images = Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 1024, "longest_edge": 4096})
    chat = CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = Qwen3VLProcessor(images, words, Qwen3VLVideoProcessor(patch_size=8), chat_template=chat)
    return [Qwen3VLForConditionalGeneration(config), processor]


def smolvlm() -> list[Any]:
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    marks = {
        "image_token": "<image>", "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>", "end_of_utterance_token": "<end_of_utterance>",
    }  # fmt: skip
    words = tokenizer(extra_special_tokens=marks)
    text = {**ATTENTION, **SPEAKS, "vocab_size": VOCABULARY + 4, "max_position_embeddings": 256, "model_type": "llama"}
    config = SmolVLMConfig(
        vision_config=VISION, text_config=text, scale_factor=2, image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )  # fmt: skip
    side = {"longest_edge": 32}
    images = SmolVLMImageProcessor(size=side, max_image_size=side, do_image_splitting=False)
    videos = SmolVLMVideoProcessor(size=side, max_image_size=side)
    return [
        SmolVLMForConditionalGeneration(config),
        SmolVLMProcessor(images, words, videos, image_seq_len=4, chat_template=CHAT),
    ]


BUILDERS: dict[str, Callable[[], list[Any]]] = {
    f.__name__: f
    for f in (
        clip, siglip, siglip2, rt_detr, d_fine, deformable_detr, dab_detr, grounding_dino, mm_grounding_dino, sam,
        sam_hq, sam2, blip, blip2, florence2, llava, qwen3_vl, smolvlm,
    )
}  # fmt: skip
