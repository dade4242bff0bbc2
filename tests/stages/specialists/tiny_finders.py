"""Tiny random checkpoints that find boxes, phrases and masks."""

from __future__ import annotations

from typing import Any

from tests.stages.specialists.tiny import ATTENTION, VOCABULARY, tokenizer


def _backbone() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )


DETR = {
    "d_model": 32,
    "num_queries": 12,
    "encoder_layers": 1,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_layers": 2,
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
}
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
        **DETR,
        **NAMES,
        **more,
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [8, 16, 16],
        "num_denoising": 0,
        "feat_strides": [8, 16, 32],
        "decoder_in_channels": [32, 32, 32],
        "backbone_config": backbone,
    }
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

    config = DeformableDetrConfig(
        **DETR, **NAMES, backbone_config=_backbone(), num_feature_levels=4
    )
    size = {"shortest_edge": 160, "longest_edge": 240}
    return [DeformableDetrForObjectDetection(config), DeformableDetrImageProcessorPil(size=size)]


def dab_detr() -> list[Any]:
    from transformers import (
        ConditionalDetrImageProcessorPil,
        DabDetrConfig,
        DabDetrForObjectDetection,
    )

    settings = {**DETR, "hidden_size": 32, "backbone_config": _backbone()}
    settings.pop("d_model")
    size = {"shortest_edge": 160, "longest_edge": 240}
    model = DabDetrForObjectDetection(DabDetrConfig(**settings, **NAMES))
    return [model, ConditionalDetrImageProcessorPil(size=size)]


def _grounding_dino(config: type, model: type) -> list[Any]:
    from transformers import BertConfig, GroundingDinoImageProcessorPil, SwinConfig

    swin = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
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
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "mlp_dim": 32,
            "global_attn_indexes": [0, 1],
            "num_pos_feats": 8,
            "window_size": 0,
            **places,
        },
        prompt_encoder_config={"hidden_size": 16, "image_embedding_size": 4, **places},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            **decoder,
        },
    )
    images = SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
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
        hidden_size=8,
        num_attention_heads=1,
        image_size=[64, 64],
        blocks_per_stage=[1, 2, 1, 1],
        embed_dim_per_stage=[8, 16, 24, 32],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[2],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[32, 24, 16, 8],
        fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    side = {"height": 64, "width": 64}
    return [
        Sam2Model(config),
        Sam2Processor(Sam2ImageProcessor(size=side, mask_size={"height": 16, "width": 16})),
    ]
