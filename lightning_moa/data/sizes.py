"""How many rows the published data sets have, for plans that read none of them. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HH_RLHF_ROWS = {
    "harmless-base": 42_537,
    "helpful-base": 43_835,
    "helpful-online": 22_007,
    "helpful-rejection-sampled": 52_421,
}
"""Training pairs of each folder (Bai et al. 2022's repository; 160,800 together)."""

PAIRS = {
    "helpsteer2": 10_162,
    "helpsteer3": 38_459,
    "ultrafeedback": 6 * 63_967,
    "pku_saferlhf": 73_907,
    "summarize_from_feedback": 92_858,
}
"""Training pairs, by the data sets' cards."""

PROMPTS_PER_PAIR = {"pku_saferlhf": 38_641 / 73_907, "ultrafeedback": 1 / 6}
"""Distinct prompts for each pair, where prompts repeat."""


def published_rows(data: Mapping[str, Any], view: str) -> int | None:
    """Rows of the training split: pairs, responses ("sequences": two a pair) or distinct prompts ("prompts").

    As many as were published; those that are dropped for their length are not known without reading them. `limit`
    holds. None where nothing is known: a file of one's own.

    Args:
        data: a data set's options.
        view: pairs, sequences or prompts.
    """
    if data["path"] is not None:
        return None
    if "sft_rows" in data:
        rows = {"pairs": data["pairs"], "sequences": data["sft_rows"], "prompts": data["eval_pairs"]}[view]
        return int(rows if data["limit"] is None else min(rows, data["limit"]))
    pairs = PAIRS.get(data["name"])
    if data["name"] == "hh_rlhf":
        pairs = sum(HH_RLHF_ROWS[subset] for subset in data["subsets"])
    if pairs is None:
        return None
    prompts = PROMPTS_PER_PAIR.get(data["name"], 1.0) * pairs
    if data.get("pairs_per_prompt") is not None:
        pairs = min(pairs, round(data["pairs_per_prompt"] * prompts))
    share = prompts / pairs
    if data["limit"] is not None:
        pairs = min(pairs, data["limit"])
    if view == "prompts":
        return round(pairs * share)
    return 2 * pairs if view == "sequences" else pairs
