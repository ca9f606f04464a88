"""Options: defaults of their own, and one line for every value that is not allowed."""

from dataclasses import dataclass

import pytest

from lightning_moa.errors import UserError
from lightning_moa.fields import check, option


@dataclass
class Inner:
    share: float = option(0.5, "a share", at_least=0, at_most=1)


@dataclass
class Outer:
    kind: str = option("a", "a kind", choices=("a", "b"))
    rate: float | None = option(None, "a rate", above=0, below=1)
    names: list[str] = option(["x"], "names")
    answer: str = option("ours", "an answer", choices=("ours", "theirs"), open=True)
    inner: Inner = option(Inner, "another")
    many: dict[str, Inner] = option({}, "others by name")


def test_what_is_allowed_passes():
    check(Outer())
    check(Outer(kind="b", rate=0.5, inner=Inner(1.0), many={"m": Inner(0.0)}))
    check(Outer(answer="theirs"))
    check(Outer(answer="package.module:Class"))


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (Outer(kind="c"), "kind=c: allowed are a, b"),
        (Outer(kind="m:C"), "kind=m:C: allowed are a, b"),
        (Outer(answer="own"), "answer=own: allowed are ours, theirs, and one of your own as module:Class"),
        (Outer(rate=0.0), "rate=0.0: must be above 0"),
        (Outer(rate=1.0), "rate=1.0: must be below 1"),
        (Outer(rate=float("nan")), "rate=nan: must be a finite number"),
        (Outer(rate=float("inf")), "rate=inf: must be a finite number"),
        (Outer(inner=Inner(-0.1)), "inner.share=-0.1: must be at least 0"),
        (Outer(inner=Inner(1.5)), "inner.share=1.5: must be at most 1"),
        (Outer(many={"m": Inner(2.0)}), "many.m.share=2.0: must be at most 1"),
    ],
)
def test_what_is_not_allowed_is_named(config, line):
    with pytest.raises(UserError) as caught:
        check(config)
    assert str(caught.value) == line


def test_the_prefix_comes_before_the_key():
    with pytest.raises(UserError, match=r"^data\.share=7: "):
        check(Inner(7), "data.")


def test_mutable_defaults_are_not_shared():
    one, other = Outer(), Outer()
    one.names.append("y")
    one.many["m"] = Inner()
    one.inner.share = 0.1
    assert other == Outer()
    assert other.names == ["x"]
