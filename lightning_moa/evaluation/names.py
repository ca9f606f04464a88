"""Names of the columns that measurements have. Light."""

SCORES = ("reward_", "gold_", "judge_")
"""What columns of rewards begin with."""
RULES = ("length", "repetition", "ended")
"""Columns of `sampling.by_rules`."""
