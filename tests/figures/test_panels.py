"""HaM's panels: a copy of the script's settings, with what a panel's objectives leave of them."""

from __future__ import annotations

import re
from copy import deepcopy
from types import SimpleNamespace

import pandas as pd
import pytest

from lightning_moa.data.configs import PairsConfig
from lightning_moa.deployments import EachHead, InPrompt, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.figures.panels import (
    PANELS,
    ShownConfig,
    as_asked,
    methods_of,
    panel_study,
    settings_of,
    shown_of,
)
from lightning_moa.methods.products import FIVE, TEN
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.seeds import REFERENCE

LABELS = {"helpful": "h", "harmless": "s", "humorous": "j"}


def config(**changes):
    made = schema_of(methods_of(2), ShownConfig)(**{"data": PairsConfig(labels=dict(LABELS))} | changes)
    made.likelihood.rewards = {"helpful": {"model": "a"}, "humorous": {"model": "b", "path": "c"}}
    made.online.rounds = 2
    made.large.hidden_size = 99
    return made


def test_a_panel_has_its_own_objectives_and_what_belongs_to_them():
    script = config()
    before = deepcopy(script)
    panel = settings_of(script, ["harmless", "helpful"])
    assert panel.objectives == ["harmless", "helpful"]
    assert panel.likelihood.rewards == {"helpful": {"model": "a"}}
    assert panel.data.labels == {"helpful": "h", "harmless": "s"}
    assert script == before


def test_objectives_that_the_user_gives_go_first():
    assert settings_of(config(objectives=["humorous", "helpful"]), ["harmless"]).objectives == [
        "humorous",
        "helpful",
    ]


def test_labels_that_a_panel_lacks_are_named_with_those_that_there_are():
    panel = settings_of(config(data=PairsConfig(labels={"a": "x", "b": "y"})), ["harmless", "helpful"])
    line = "objective 'harmless' has no entry in data.labels, which names a, b: give data.labels.harmless=<column>"
    with pytest.raises(UserError, match=line):
        plan_study(panel, methods_of(2))


@pytest.mark.parametrize(("online", "rounds"), [(False, 0), (True, 2)])
@pytest.mark.parametrize("large", [False, True])
def test_model_and_phase(online, rounds, large):
    script = config()
    panel = settings_of(script, ["helpful", "harmless"], large=large, online=online)
    assert panel.online.rounds == rounds
    assert (panel.model == script.large) == large
    assert (panel.model == script.model) != large
    panel.model.layers += 1
    panel.online.rounds += 1
    assert (script.model, script.large, script.online.rounds) == (config().model, config().large, 2)


def test_methods_are_the_papers():
    assert {name: list(methods_of(m)) for m, name in ((2, "two"), (3, "three"))} == {
        "two": ["ham", "ric", "sca"],
        "three": ["ham", "ric", "sca"],
    }
    for m, rows in ((2, FIVE), (3, TEN)):
        methods = methods_of(m)
        assert methods["sca"].trained_on == TrainedOn.given(rows)
        assert methods["ric"].deployment == InPrompt(rows)
        # As many heads as the study says.
        assert methods["ham"].policy.options == {}
        assert methods["ham"].deployment == methods["sca"].deployment == EachHead()
    assert len(methods_of(4)["sca"].trained_on.rows) == 9


def test_a_script_conducts_the_panels_that_it_is_asked_for():
    study = panel_study(__file__, "assistant", ["helpful", "harmless"])
    assert list(study.methods) == ["ham", "ric", "sca"]
    script = config(panels=["c", "a"])
    (first, offline, methods), (second, online, _) = study.parts_of(script, study.methods)
    assert (first, second) == (PANELS["a"][0], PANELS["c"][0])
    assert (offline.online.rounds, online.online.rounds) == (0, 2)
    assert offline.model == online.model == script.model
    assert offline.objectives == ["helpful", "harmless"]
    assert methods == study.methods


def test_methods_go_by_the_objectives_that_are_asked_for():
    study = panel_study(__file__, "assistant", ["a", "b", "c"])
    script = config(objectives=["helpful", "harmless"], panels=["a"])
    ((_, own, methods),) = study.parts_of(script, study.methods)
    assert own.objectives == ["helpful", "harmless"]
    assert methods["sca"].trained_on == TrainedOn.given(FIVE)


def test_some_panels_are_named_and_all_are_not():
    assert shown_of(config(), PANELS) == (["a", "b", "c"], "")
    assert shown_of(config(panels=["c", "a", "c"]), PANELS) == (["a", "c"], "a+c")
    for wrong in ([], ["a", "d"]):
        line = re.escape(f"panels={wrong}: allowed are a, b, c, one or more")
        with pytest.raises(UserError, match=line):
            shown_of(config(panels=wrong), PANELS)


def test_a_prompt_that_asks_and_was_cut_further_counts_as_the_one_it_is():
    rows = [(REFERENCE, 0, 0, "a long one"), (REFERENCE, 0, 1, "b"), (REFERENCE, 1, 0, "b")]
    rows += [("ric", 1, 0, "b"), ("ric", 0, 0, "one"), ("ric", 0, 1, "b"), ("ric", 0, 0, "one")]
    frame = pd.DataFrame(rows, columns=["method", "seed", "prompt_index", "prompt"])
    asked = as_asked(frame[3:], SimpleNamespace(responses=frame))
    assert asked.to_dict() == {3: "b", 4: "a long one", 5: "b", 6: "a long one"}
