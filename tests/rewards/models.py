"""Folders with tiny models and tokenizers of the architectures that the published reward models have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BartConfig,
    BartForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from lightning_moa.data.tokenizer import train_bpe
from lightning_moa.rewards.score_head import ScoreHead

TEXTS = [
    "\n\nHuman: how do I bake bread? \n\nAssistant: Mix flour, water and salt.",
    "BEGINNING OF CONVERSATION: USER: tell me a joke ASSISTANT: A man walks into a bar.",
]
PROMPTS = ["How do I bake bread?", "Tell me a joke", "q", "Where is the é river?", "Why?", "one two three"]
RESPONSES = ["Mix flour and water.", "A man walks into a bar. Ouch.", "", "In the north", "No", "four " * 5]


def byte_tokenizer(specials: list[str], processor: Any = None, **names: Any) -> PreTrainedTokenizerFast:
    """A byte-level BPE; any text has tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS * 3, trainer)
    if processor is not None:
        bpe.post_processor = processor({name: bpe.token_to_id(name) for name in specials})
    return PreTrainedTokenizerFast(tokenizer_object=bpe, clean_up_tokenization_spaces=False, **names)


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    end = "<|endoftext|>"
    return byte_tokenizer([end], bos_token=end, eos_token=end, model_max_length=1024)


def bart_tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer(
        ["<s>", "<pad>", "</s>"],
        lambda ids: processors.RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"])),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=1024,
    )


def bert_tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer(
        ["[PAD]", "[CLS]", "[SEP]"],
        lambda ids: processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])),
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        model_max_length=512,
    )


def llama_tokenizer(own_bos: bool = True) -> PreTrainedTokenizerFast:
    def processor(ids: dict[str, int]) -> Any:
        return processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", ids["<s>"])])

    return byte_tokenizer(
        ["<unk>", "<s>", "</s>", "<pad>"],
        processor if own_bos else None,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=2048,
    )


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, **options: Any) -> Path:
    """Write a folder as the hub has them. Weights are enlarged, so that scores of texts differ clearly."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name.lower() and "ln_" not in name:
                parameter.copy_(parameter * 6)
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder


def gpt2_folder(folder: Path, positions: int = 96, labels: int = 1) -> Path:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=320,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=positions,
        bos_token_id=0,
        eos_token_id=0,
        id2label={i: f"LABEL_{i}" for i in range(labels)},
        label2id={f"LABEL_{i}": i for i in range(labels)},
    )
    return save(GPT2ForSequenceClassification(config), gpt2_tokenizer(), folder)


def _labels(names: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def distilbert_folder(folder: Path, labels: tuple[str, ...] = ("NO_HUMOR", "HUMOR")) -> Path:
    torch.manual_seed(1)
    config = DistilBertConfig(
        vocab_size=320,
        dim=16,
        hidden_dim=16,
        n_layers=2,
        n_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        **_labels(labels),
    )
    return save(DistilBertForSequenceClassification(config), bert_tokenizer(), folder)


def bart_folder(folder: Path, labels: tuple[str, ...] = ("HALLUCINATED", "FAITHFUL")) -> Path:
    torch.manual_seed(2)
    config = BartConfig(
        vocab_size=320,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=96,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        **_labels(labels),
    )
    return save(BartForSequenceClassification(config), bart_tokenizer(), folder)


def roberta_folder(folder: Path, positions: int = 34) -> Path:
    torch.manual_seed(4)
    config = RobertaConfig(
        vocab_size=320,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=positions,
        pad_token_id=1,
        type_vocab_size=1,
        **_labels(("NO_HUMOR", "HUMOR")),
    )
    return save(RobertaForSequenceClassification(config), bart_tokenizer(), folder)


def llama_config(**options: Any) -> LlamaConfig:
    sizes = {"vocab_size": 320, "hidden_size": 16, "intermediate_size": 16, "max_position_embeddings": 96}
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    return LlamaConfig(num_hidden_layers=2, num_attention_heads=2, **(sizes | tokens | options))


def llama_folder(folder: Path, seed: int = 3, **options: Any) -> Path:
    torch.manual_seed(seed)
    shards = {"max_shard_size": options.pop("shard_size")} if "shard_size" in options else {}
    return save(ScoreHead(llama_config(**options)), llama_tokenizer(), folder, **shards)


def trained_folder(
    folder: Path,
    texts: Sequence[str] = (*PROMPTS, *RESPONSES),
    template: str = "Q: {prompt} A:",
    tokenizer: PreTrainedTokenizerFast | None = None,
    **about: Any,
) -> Path:
    """What the training of a reward model leaves, of objectives a, b and c; its tokenizer is fitted on the texts,
    unless one is given."""
    tokenizer = tokenizer or train_bpe(list(texts), 300)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=3,
        pad_token_id=tokenizer.pad_token_id,
    )
    network = AutoModelForSequenceClassification.from_config(config)
    torch.nn.init.normal_(network.score.weight, std=1.0)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    told = {"objectives": ["a", "b", "c"], "template": template, "max_length": 48, **about}
    (folder / "rewards.json").write_text(json.dumps(told))
    return folder
