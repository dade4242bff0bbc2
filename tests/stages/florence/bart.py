"""Florence-2's tokenizer from BART's real vocabulary, which is not part of this package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stages.florence.tokenizer import ADDED_TOKENS, BOS, EOS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VARIABLE = "FLD_BART"
"""Names a folder with the `vocab.json` and `merges.txt` of `facebook/bart-base`."""

needs_bart = pytest.mark.skipif(
    VARIABLE not in os.environ,
    reason=f"set {VARIABLE} to a folder with the vocab.json and merges.txt of BART",
)


def bart_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the released checkpoints, in the format of `transformers`.

    It is BART's byte-level BPE without a space before the first word; the added tokens follow it.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    folder = Path(os.environ[VARIABLE])
    bpe = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", EOS), ("<s>", BOS), trim_offsets=True, add_prefix_space=False
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.add_special_tokens(list(ADDED_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        extra_special_tokens={"image_token": "<image>"},
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    fast.add_special_tokens({"additional_special_tokens": list(ADDED_TOKENS)})
    return fast
