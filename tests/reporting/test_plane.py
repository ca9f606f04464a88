"""Where methods end: what is drawn is what the frame says."""

import numpy as np
import pandas as pd

from lightning_moa.reporting.plane import draw_ends
from lightning_moa.reporting.plots import canvas
from lightning_moa.reporting.styles import styles_of


def drawn(frame, front=None):
    with canvas(4, 4) as figure:
        ax = figure.subplots()
        draw_ends(ax, frame, ["x", "y"], styles_of(frame["method"]), title="here", front=front)
    return ax, [np.asarray(line.get_xydata()) for line in ax.lines]


def test_means_stand_over_single_seeds():
    frame = pd.DataFrame(
        {"method": ["mgda", "mgda", "sft", "sft"], "x": [0.0, 2.0, 5.0, 5.0], "y": [1.0, 3.0, 6.0, 8.0]}
    )
    ax, lines = drawn(frame, front=[[0, 9], [9, 0]])
    expected = [[[0, 9], [9, 0]], [[0, 1], [2, 3]], [[1, 2]], [[5, 6], [5, 8]], [[5, 7]]]
    for line, points in zip(lines, expected, strict=True):
        np.testing.assert_allclose(line, points)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["exact front", "MGDA", "SFT"]
    assert ax.get_title(loc="left") == "here"


def test_one_seed_is_drawn_once():
    _, lines = drawn(pd.DataFrame({"method": ["mgda"], "x": [1.0], "y": [2.0]}))
    np.testing.assert_allclose(np.concatenate(lines), [[1, 2]])
