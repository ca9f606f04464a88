"""What sets runs apart: whole values are compared, and what is shown of them is short."""

from __future__ import annotations

from lightning_moa.reporting.differences import differing


def records(*templates: str) -> list[tuple[str, dict[str, object]]]:
    return [(name, {"data": {"template": text}}) for name, text in zip("abc", templates, strict=False)]


def test_values_that_differ_beyond_what_is_shown_differ() -> None:
    common = "Below is an instruction that describes a task, and a request. "
    (line,) = differing(records(common + "Answer it.", common + "Refuse it.", common + "Answer it."))
    assert line == (
        "data differ: template from letter 63 on 'Answer it.' (a, c), from letter 63 on 'Refuse it.' (b)"
    )


def test_white_space_tells_values_apart() -> None:
    (line,) = differing(records("{prompt}\n", "{prompt} "))
    assert line == r"data differ: template from letter 9 on '\n' (a), from letter 9 on ' ' (b)"
    assert differing(records("{prompt}\n", "{prompt}\n")) == []


def test_of_three_that_look_alike_each_is_told_from_both_others() -> None:
    first, more = "x" * 70, "y" * 70
    (line,) = differing(records(f"{first}a{more}1", f"{first}a{more}2", first))
    said = line.removeprefix("data differ: template ")
    assert said == "from letter 142 on '1' (a), from letter 142 on '2' (b), from letter 71 on '' (c)"


def test_long_values_are_shortened_where_their_beginnings_tell_them_apart() -> None:
    (line,) = differing(records("x" * 90, "y" * 90))
    assert line == f"data differ: template {'x' * 57}... (a), {'y' * 57}... (b)"
