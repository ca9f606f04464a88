"""Whether the words that rows are encoded in are those that the model knows."""

from __future__ import annotations

from pathlib import Path

from lightning_moa.data.tokenizer import load_tokenizer
from lightning_moa.data.training import TrainingData
from lightning_moa.errors import UserError
from lightning_moa.policies import Policy
from lightning_moa.rewards.loading import VOCABULARY


def check_tokenizer(policy: Policy, data: TrainingData) -> None:
    """Refuse a tokenizer whose ids mean other words to the model, or none.

    Raises:
        UserError: it has more words than the model; or it was made for the data, and the model has one of its own.
    """
    has, knows = len(data.tokenizer), int(policy.model.config.vocab_size)
    if has > knows:
        raise UserError(f"the data's tokenizer has {has} words, the model knows {knows}: {_to_give(policy)}")
    if not data.made_tokenizer:
        return
    place = str(policy.model.name_or_path or "")
    folder = Path(place)
    if folder.is_dir() and not any((folder / name).is_file() for name in VOCABULARY):
        return
    if place and (not folder.is_dir() or load_tokenizer(folder).get_vocab() != data.tokenizer.get_vocab()):
        raise UserError(
            f"the data's tokenizer was made for the data, and {place} has one of its own, in which the same ids are "
            f"other words: {_to_give(policy)}"
        )


def _to_give(policy: Policy) -> str:
    return f"give TrainingData the model's, tokenizer={str(policy.model.name_or_path or '...')!r}"
