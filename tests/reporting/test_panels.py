"""Panels: what is drawn is what the tables say."""

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.reporting.panels import (
    draw_along_weight,
    draw_bars,
    draw_grouped_bars,
    draw_over_steps,
    shades,
)
from lightning_moa.reporting.plots import canvas, divide, draw_fronts
from tests.reporting.frames import heads_frame, points_frame


def lines_of(ax):
    return [np.asarray(line.get_xydata()) for line in ax.lines]


def test_curves_are_means_over_seeds_between_faint_seeds():
    frame = points_frame({"panacea": 1.0}, seeds=(0, 1), noise=0.0)
    frame["kl"] = frame["lambda_helpful"] + frame["seed"]
    with canvas(3, 3) as figure:
        ax = figure.subplots()
        draw_along_weight(ax, frame, "kl", "helpful", title="KL", exact=[[0, 5], [1, 6]])
    exact, first, second, mean = lines_of(ax)
    weights = np.arange(11) / 10
    np.testing.assert_allclose(exact, [[0, 5], [1, 6]])
    for drawn, shift in ((first, 0), (second, 1), (mean, 0.5)):
        np.testing.assert_allclose(drawn, np.c_[weights, weights + shift], atol=1e-12)
    assert ax.get_title(loc="left") == "KL"


def test_equal_weights_are_averaged_and_rows_without_one_left_out():
    frame = pd.concat(
        [
            points_frame({"dps": 1.0}, seeds=(0,), objectives=("a", "b", "c"), step=0.5),
            points_frame({"ham": 1.0}, seeds=(0,), objectives=("a", "b", "c"), step=1.0).assign(
                lambda_a=np.nan
            ),
        ]
    )
    frame["kl"] = frame["lambda_b"]
    with canvas(3, 3) as figure:
        ax = figure.subplots()
        exact = [[0, 1], [0, 3], [1, 4], [0.5, 2], [0.5, 4]]
        draw_along_weight(ax, frame, "kl", "a", title="", exact=exact)
    best, drawn = lines_of(ax)
    np.testing.assert_allclose(best, [[0, 2], [0.5, 3], [1, 4]])
    np.testing.assert_allclose(drawn, [[0, 0.5], [0.5, 0.25], [1, 0]])


def test_bars_are_means():
    with canvas(3, 3) as figure:
        ax = figure.subplots()
        draw_bars(ax, {"a": {0: 1.0, 1: 3.0}, "b": {0: 5.0}}, shades(["a", "b"]), title="")
    assert [bar.get_height() for bar in ax.patches] == [2.0, 5.0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    np.testing.assert_allclose(lines_of(ax)[0][:, 1], [1, 3])


def test_grouped_bars_stand_side_by_side_and_are_means():
    styles = shades(["x", "y"])
    values = {"a": {"x": {0: 1.0, 1: 3.0}, "y": {0: 5.0}}, "b": {"x": {0: -1.0}, "y": {0: 4.0}}}
    with canvas(3, 3) as figure:
        ax = figure.subplots()
        draw_grouped_bars(ax, values, styles, title="")
    assert [bar.get_height() for bar in ax.patches] == [2.0, 5.0, -1.0, 4.0]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    np.testing.assert_allclose(centres, [-0.2, 0.2, 0.8, 1.2])
    assert ax.get_legend_handles_labels()[1] == ["x", "y"]
    np.testing.assert_allclose(lines_of(ax)[0], [[-0.2, 1], [-0.2, 3]])


@pytest.mark.parametrize("faint", [True, False])
def test_over_steps_the_mean_over_seeds_is_bold(faint):
    frame = pd.DataFrame({"seed": [0, 0, 1, 1, 1], "step": [0, 10, 0, 10, 20], "x": [1, 2, 3, 6, np.nan]})
    with canvas(3, 3) as figure:
        ax = figure.subplots()
        draw_over_steps(ax, frame, "x", shades(["x"])["x"], faint=faint)
    *seeds, mean = lines_of(ax)
    assert mean.tolist() == [[0, 2], [10, 4]]
    assert [line.tolist() for line in seeds] == ([[[0, 1], [10, 2]], [[0, 3], [10, 6]]] if faint else [])


def test_shades_differ():
    ramp = shades([f"step {i}" for i in range(6)])
    assert len({style.colour for style in ramp.values()}) == 6


def test_fronts_in_parts_of_a_figure():
    frame = pd.concat([points_frame({"panacea": 1.0}), heads_frame()])
    with canvas(8, 4, "both") as figure:
        left, right = divide(figure, 1, 2, width=(1, 2))
        draw_fronts(left, frame, "gold", title="mine", front=[[0, 1], [1, 0]])
        with pytest.raises(UserError, match="no values in space 'accuracy'"):
            draw_fronts(right, frame, "accuracy")
    (ax,) = left.axes
    assert ax.get_title(loc="left") == "mine"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "exact front",
        "Panacea",
        "HaM",
        "one of 3 seeds",
    ]
