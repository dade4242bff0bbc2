"""Tiny random checkpoints that write texts."""

from __future__ import annotations

from typing import Any

from tests.stages.specialists.tiny import ATTENTION, SQUARE, VISION, VOCABULARY, tokenizer

SPEAKS = {"bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0}


def blip() -> list[Any]:
    from transformers import (
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessorPil,
        BlipProcessor,
    )

    text = {
        **ATTENTION,
        **SPEAKS,
        "vocab_size": VOCABULARY,
        "encoder_hidden_size": 16,
        "max_position_embeddings": 32,
        "sep_token_id": 102,
    }
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION))
    return [model, BlipProcessor(BlipImageProcessorPil(size=SQUARE), tokenizer())]


def blip2() -> list[Any]:
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessorPil,
    )

    words = tokenizer()
    words.add_tokens(["<image>"], special_tokens=True)
    config = Blip2Config(
        vision_config=VISION,
        qformer_config={**ATTENTION, "vocab_size": 30, "encoder_hidden_size": 16},
        text_config={
            **ATTENTION,
            **SPEAKS,
            "model_type": "opt",
            "vocab_size": VOCABULARY + 1,
            "ffn_dim": 32,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 16,
        },
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    images = BlipImageProcessorPil(size=SQUARE)
    return [
        Blip2ForConditionalGeneration(config),
        Blip2Processor(images, words, num_query_tokens=4),
    ]


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
    widths = {
        "embed_dim": [8, 8, 16, 16],
        "depths": [1] * 4,
        "num_heads": [1] * 4,
        "num_groups": [1] * 4,
    }
    text = BartConfig(
        vocab_size=VOCABULARY + 1,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        decoder_start_token_id=102,
        **SPEAKS,
    )
    config = Florence2Config(
        text_config=text,
        image_token_id=words.image_token_id,
        vision_config=Florence2VisionConfig(**widths, window_size=4, projection_dim=16),
    )
    images = CLIPImageProcessorPil(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}, image_seq_length=5
    )
    return [Florence2ForConditionalGeneration(config), Florence2Processor(images, words)]


CHAT = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image> {% else %}{{ part.text }} {% endif %}"
    "{% endfor %}{% endfor %}"
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
        text_config=LlamaConfig(
            **ATTENTION, **SPEAKS, vocab_size=VOCABULARY + 1, max_position_embeddings=128
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE),
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        num_additional_image_tokens=1,
    )
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
        **ATTENTION,
        **SPEAKS,
        "vocab_size": VOCABULARY + 4,
        "max_position_embeddings": 256,
        "head_dim": 8,
        "num_key_value_heads": 2,
        "rope_parameters": rope,
    }
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 8,
        "out_hidden_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    images = Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 1024, "longest_edge": 4096})
    chat = CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = Qwen3VLProcessor(
        images, words, Qwen3VLVideoProcessor(patch_size=8), chat_template=chat
    )
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
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    words = tokenizer(extra_special_tokens=marks)
    text = {
        **ATTENTION,
        **SPEAKS,
        "vocab_size": VOCABULARY + 4,
        "max_position_embeddings": 256,
        "model_type": "llama",
    }
    config = SmolVLMConfig(
        vision_config=VISION,
        text_config=text,
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )
    side = {"longest_edge": 32}
    images = SmolVLMImageProcessor(size=side, max_image_size=side, do_image_splitting=False)
    videos = SmolVLMVideoProcessor(size=side, max_image_size=side)
    return [
        SmolVLMForConditionalGeneration(config),
        SmolVLMProcessor(images, words, videos, image_seq_len=4, chat_template=CHAT),
    ]
