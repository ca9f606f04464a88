"""Rewards that nobody can argue about: functions of (prompts, responses), for `rewards={objective: 'module:name'}`."""

from __future__ import annotations

import re

LONG = 7
"""Letters of a long word at least, as the readability measure LIX has it (more than six; Bjornsson, 1968)."""
_WORD = re.compile(r"[^\W\d_]+")


def concise(prompts: list[str], responses: list[str]) -> list[float]:
    """Minus a tenth of each response's number of words, 0 at most."""
    return [-len(response.split()) / 10 for response in responses]


def long_words(prompts: list[str], responses: list[str]) -> list[float]:
    """A quarter of each response's number of distinct long words, 0 at least: what makes a text complex, and long."""
    found = [
        {word for word in _WORD.findall(response.lower()) if len(word) >= LONG} for response in responses
    ]
    return [len(words) / 4 for words in found]
