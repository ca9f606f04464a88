"""A tokenizer fitted here, or one that is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
SMALLEST_VOCABULARY = 256 + 3


def train_bpe(texts: Iterable[str], vocab_size: int, min_frequency: int = 2) -> PreTrainedTokenizerFast:
    """A byte-level BPE fitted on texts (of the training split only), with its own PAD (id 0), BOS and EOS.

    Any text can be encoded and decoded back unchanged: every byte has a token. The same texts give the same
    tokenizer. The vocabulary is smaller than `vocab_size` where the texts have too few pairs of tokens that
    occur `min_frequency` times. Raises `UserError` where `vocab_size` leaves no room for the bytes.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"tokenizer.vocab_size={vocab_size}: must be at least {SMALLEST_VOCABULARY} "
            f"(256 bytes, 3 special tokens)"
        )
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(path_or_id: str | Path, revision: str | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer of a local folder, or of a hub model at a revision.

    It pads with EOS where it has no padding token. Code from the hub is never run. Raises `UserError` where
    it can't be found or reached, has no fast implementation, or has no EOS.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            os.path.expanduser(path_or_id),
            revision=revision or "main",
            use_fast=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the tokenizer of {path_or_id} could not be loaded: {line}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"the tokenizer of {path_or_id} has no fast implementation ({type(tokenizer).__name__})"
        )
    if tokenizer.eos_token is None:
        raise UserError(f"the tokenizer of {path_or_id} has no EOS token, so a response cannot be closed")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
