"""Reading back what a watched run saw, and the algebra of a look at it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.figures.gradients import WATCH, Look, pairs, read_looks, shares, watched
from lightning_moa.task_files import GRADIENTS
from tests.experiments.scripts import REPOSITORY, load

OBJECTIVES = ("kind", "brief", "true")


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(3, 7))


def look_at(vectors, weights, moved=0.5):
    gain = np.array([0.1, 0.2, 0.3])
    return Look("a", 0, 0, 4, "all", np.array(weights), vectors @ vectors.T, gain, moved)


def rows_of(look):
    return [
        {"step": look.step, "probe": look.probe, "objective": name, "weight": look.weights[i]}
        | {f"dot_{other}": look.gramian[i, j] for j, other in enumerate(OBJECTIVES)}
        | {"gain": look.gain[i], "moved": look.moved}
        for i, name in enumerate(OBJECTIVES)
    ]


def study(tmp_path, rows, method="a", seed=3):
    folder = tmp_path / "run"
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / GRADIENTS, index=False)
    return SimpleNamespace(objectives=OBJECTIVES, policies={(method, seed): [folder / "policy"]})


def test_a_look_is_the_gradients_own_algebra(vectors):
    look = look_at(vectors, [0.5, 0.2, 0.3])
    direction = np.array([0.5, 0.2, 0.3]) @ vectors
    np.testing.assert_allclose(look.norms, np.linalg.norm(vectors, axis=1))
    np.testing.assert_allclose(look.progress, vectors @ direction)
    assert look.length == pytest.approx(np.linalg.norm(direction))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(look.cosines, [unit[0] @ unit[1], unit[0] @ unit[2], unit[1] @ unit[2]])
    assert pairs(OBJECTIVES) == ["kind_brief", "kind_true", "brief_true"]


def test_a_gradient_of_zero_has_no_angle(vectors):
    vectors[1] = 0
    cosines = look_at(vectors, [1, 0, 0]).cosines
    assert np.isnan(cosines).tolist() == [True, False, True]


def test_shares_sum_to_one_and_nothing_has_none():
    np.testing.assert_allclose(shares(np.array([[2.0, 6.0], [0.0, 0.0]])), [[0.25, 0.75], [np.nan, np.nan]])


def test_looks_are_read_back_bit_for_bit_whatever_the_order_of_rows(tmp_path, vectors):
    written = look_at(vectors, [0.1, 0.7, 0.2])
    (found,) = read_looks(study(tmp_path, rows_of(written)[::-1]), ["a"])
    assert (found.method, found.seed, found.policy, found.step, found.probe) == ("a", 3, 0, 4, "all")
    assert (found.gramian == written.gramian).all()
    assert (found.weights == written.weights).all()
    assert (found.gain == written.gain).all()
    assert found.moved == written.moved


def test_other_methods_need_not_have_been_watched(tmp_path, vectors):
    made = study(tmp_path, rows_of(look_at(vectors, [1, 0, 0])))
    made.policies["b", 3] = [tmp_path / "elsewhere" / "policy"]
    assert len(read_looks(made, ["a"])) == 1
    with pytest.raises(UserError, match=r"methods\.b\.watch: its run has left no gradients"):
        read_looks(made, ["a", "b"])


def test_a_run_that_had_nothing_to_look_at_is_named(tmp_path):
    with pytest.raises(UserError, match=r"methods\.a\.watch: .* ppo\.weigh=surrogates"):
        read_looks(study(tmp_path, []), ["a"])


def test_gradients_are_looked_at_where_nothing_is_said_and_a_zero_is_refused():
    config = StudyConfig(methods={"b": MethodConfig(watch=9)})
    found = watched(config, ["a", "b"]).methods
    assert (found["a"].watch, found["b"].watch) == (WATCH, 9)
    assert list(config.methods) == ["b"]
    with pytest.raises(UserError, match=r"methods\.c\.watch=0: .* 1 or more is needed"):
        watched(StudyConfig(methods={"c": MethodConfig(lr=0.1)}), ["c"])


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
@pytest.mark.parametrize("name", ["progress", "convergence", "balance", "probe"])
def test_every_figure_of_gradients_looks_at_them_at_every_scale(name, scale):
    module = load(REPOSITORY / "experiments" / "gapo" / f"figure_{name}.py")
    _, config, _ = module.STUDY.parts_of(*module.STUDY.read([f"scale={scale}"]))[0]
    needed = {"mgda", "gapo_p1", "gapo_p2"}
    assert all(config.methods[method].watch for method in needed)
    with pytest.raises(UserError, match=r"methods\.mgda\.watch=0"):
        module.STUDY.parts_of(*module.STUDY.read([f"scale={scale}", "methods.mgda.watch=0"]))
