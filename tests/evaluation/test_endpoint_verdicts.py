"""The endpoint judge's reading of a reply."""

import math

import pytest

from lightning_moa.evaluation.endpoint import parse_verdict


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A", 1),
        ("b", 0),
        ("T", 0.5),
        ("Both help; the first warns.\n\n**A**", 1),
        ("A is careless.\nB", 0),
        ("Reasons...\n[[B]]\n", 0),
        ("Final verdict: (A).", 1),
        ("The better answer is B.", 0),
        ("<answer>A</answer>", 1),
        ("B<|im_end|>", 0),
        ("```\nT\n```", 0.5),
        ("\\boxed{A}", 1),
        ("Tie", 0.5),
        ("Verdict: A\r\n  \r\n---", 1),
    ],
)
def test_a_letter_on_the_last_line_is_read(reply, verdict):
    assert parse_verdict(reply) == verdict


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   \n",
        "C",
        "A or B",
        "A/B",
        "not A",
        "不是 A",
        "The worse answer is B",
        "A\nbut I am not sure",
        "Answer A is worse than answer B",
        "I cannot help with that.",
        "AB",
        "42",
        "<A>",
    ],
)
def test_anything_else_is_no_verdict(reply):
    assert math.isnan(parse_verdict(reply))
