"""Rewards that nobody can argue about: functions of (prompts, responses), for `rewards={objective: 'module:name'}`."""

from __future__ import annotations


def concise(prompts: list[str], responses: list[str]) -> list[float]:
    """Minus a tenth of each response's number of words, 0 at most."""
    return [-len(response.split()) / 10 for response in responses]
