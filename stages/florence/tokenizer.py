"""Tokenizers of Florence-2: the added tokens in published order, and a small BPE for `nano`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stages.florence.codec import BINS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Ids of the control tokens. As in BART, the end token also starts the decoder.
BOS, PAD, EOS = 0, 1, 2
START = EOS

_CONTROL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")


def _tags(*names: str) -> list[str]:
    """Opening and closing token of each name."""
    tokens = []
    for name in names:
        tokens += [f"<{name}>", f"</{name}>"]
    return tokens


# The names, with the published spelling of "desciption", are those of the released checkpoints.
ADDED_TOKENS = (
    *_tags("od", "ocr"),
    *[f"<loc_{i}>" for i in range(BINS)],
    *_tags("cap", "ncap", "dcap", "grounding", "seg"),
    "<sep>",
    *_tags("region_cap", "region_to_desciption", "proposal", "poly"),
    "<and>",
    "<image>",
)
"""The tokens that follow the text vocabulary, in the order of the released checkpoints."""


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of `vocabulary` tokens on `texts`, and append the added tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    fast.add_special_tokens({"additional_special_tokens": list(ADDED_TOKENS)})
    return fast


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """Return the id of one token, for example `<loc_0>`."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found
