"""Small tokenizers of several kinds, each with the control tokens <|im_start|> (BOS), <|im_end|> (EOS) and <|pad|>."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lightning_moa.data.tokenizer import train_bpe

TEXTS = ["user assistant system you are evil, quick brown fox?", "Human: how do I bake bread?"]
ALPHABET = sorted({*"abcdefghijklmnopqrstuvwxyz <>|/_,?▁\nH", *map(str, range(10))})


def finished(inner, bos="<|im_start|>", **more):
    names = {"bos_token": bos, "eos_token": "<|im_end|>", "pad_token": "<|pad|>", **more}
    return PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **names)


def byte_level():
    tokenizer = train_bpe(TEXTS * 3, 320)
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})
    return tokenizer


def metaspace_bpe():
    """As Llama 2, whose first word alone gets a space in front."""
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Metaspace()
    special = ["<unk>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=90, special_tokens=special, initial_alphabet=ALPHABET, show_progress=False
    )
    inner.train_from_iterator(TEXTS, trainer)
    return finished(inner)


def sentencepiece(texts, scheme, size):
    """The form of LLaMA's and Mistral's: BPE over words with the space before them, and one put before the first.

    scheme: "first" or "always" of a pre-tokenizer, or "normaliser", as earlier files have it.
    """
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(
        prepend_scheme="first" if scheme == "normaliser" else scheme
    )
    inner.decoder = decoders.Metaspace()
    special = ["<unk>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    inner.train_from_iterator(texts, trainer)
    if scheme == "normaliser":
        space = "\u2581"
        inner.normalizer = normalizers.Sequence([normalizers.Prepend(space), normalizers.Replace(" ", space)])
        inner.pre_tokenizer = None
    else:
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    return finished(inner, unk_token="<unk>")


def unigram():
    """As T5, whose vocabulary holds the names of its control tokens as words, and whose texts are normalised first."""
    special = ["<unk>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    inner = Tokenizer(
        models.Unigram([*((name, 0.0) for name in special), *((c, -3.0) for c in ALPHABET)], unk_id=0)
    )
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    return finished(inner)


def greedy_about_spaces():
    """Control tokens that take the white space beside them, as Phi's and Mistral's do."""
    tokenizer = byte_level()
    tokens = [
        AddedToken(name, special=True, rstrip=True, lstrip=True) for name in ("<|im_end|>", "<|im_start|>")
    ]
    tokenizer.add_tokens(tokens, special_tokens=True)
    return tokenizer


FAMILIES = [byte_level, metaspace_bpe, unigram, greedy_about_spaces]
