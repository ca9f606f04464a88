"""Whether a method's answers fit together, by what each says of itself. Light but for the answers' own classes.

An answer from outside that says nothing of a question is not refused for it.
"""

from __future__ import annotations

import inspect
from math import inf

from lightning_moa.errors import UserError
from lightning_moa.study.chosen import Chosen


def check_fit(one: Chosen) -> None:
    """Refuse, while a study is planned, answers of which it is known that no training can be made, or none that learns.

    Raises:
        UserError: names the two answers, and what would be allowed.
    """
    policy, objective, aggregation = (getattr(one, kind) for kind in ("policy", "objective", "aggregation"))
    said = {kind: one.options[kind] for kind in ("policy", "aggregation")}
    names = {
        kind: f"{kind}={getattr(one.product, kind).name}" for kind in ("policy", "objective", "aggregation")
    }
    _check_constructor(one)
    head = f"methods: {one.name}: "
    if getattr(aggregation, "of_each", False) and not objective.apart(one.settings):
        keys = ", ".join(f"{_main(one)}.{key}={value}" for key, value in objective.keeps_apart.items())
        raise UserError(
            f"{head}{names['aggregation']} needs a loss for each objective, and {names['objective']} gives one, in "
            f"which the preference has acted already{f'; allowed is {keys}' if keys else ''}"
        )
    if getattr(aggregation, "of_several", False) and not policy.may_be_several:
        raise UserError(
            f"{head}{names['aggregation']} is of several policies at once, {names['policy']} is one"
        )
    if members(one) > 1 and objective.of_several is False:
        section, key = policy.linear_in
        raise UserError(
            f"{head}{names['policy']} is several policies at once, and {names['objective']} trains one; allowed is "
            f"{section}.{key}=1"
        )
    if objective.in_prompt and policy.is_steered(said["policy"]):
        raise UserError(
            f"{head}{names['objective']} has the preference in the prompts, and {names['policy']} would be steered by "
            "another one; allowed are policies that no preference steers"
        )
    if objective.loss_range is None or not hasattr(aggregation, "takes"):
        return
    (low, high), (least, most) = objective.loss_range, aggregation.takes(said["aggregation"])
    if low < least or high > most:
        raise UserError(
            f"{head}{names['aggregation']} needs losses {_between(least, most)}, and those of {names['objective']} are "
            f"{_between(low, high)}"
        )


def members(one: Chosen) -> int:
    """Policies that its policy is at once."""
    if not one.policy.may_be_several:
        return 1
    section, key = one.policy.linear_in
    return int(getattr(one.values[section], key))


def _check_constructor(one: Chosen) -> None:
    """What an aggregation can't be made without must be said; its own sections are read by its `build`."""
    kind, known = one.aggregation, one.options["aggregation"]
    if kind.__init__ is object.__init__ or one.answers["aggregation"].sections:
        return
    for name, each in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        positional = each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        if positional and each.default is each.empty and name not in known:
            short = one.product.aggregation.name
            raise UserError(f"methods: {one.name}: use({short}, {name}=...) is needed")


def _main(one: Chosen) -> str:
    return next(iter(one.answers["objective"].sections))


def _between(least: float, most: float) -> str:
    if (least, most) == (-inf, inf):
        return "of any value"
    if most == inf:
        return f"of at least {least:g}"
    return f"of at most {most:g}" if least == -inf else f"between {least:g} and {most:g}"
