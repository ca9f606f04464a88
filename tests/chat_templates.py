"""Chat templates of the kinds that instruct models have, for the control tokens of `small_tokenizers`."""

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
