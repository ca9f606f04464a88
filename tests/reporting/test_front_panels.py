"""Panels of fronts over clusters: what is drawn is what the points say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from lightning_moa.errors import UserError
from lightning_moa.pareto import coverage, is_non_dominated
from lightning_moa.reporting.cluster_fronts import cluster_points, policy_means
from lightning_moa.reporting.front_panels import (
    draw_cluster_fronts,
    draw_cluster_fronts_3d,
    draw_radar,
    legend_entries,
    median_front,
)
from lightning_moa.reporting.plots import canvas, save_figure
from lightning_moa.reporting.styles import styles_of

NAMES = ("harmless", "helpful", "humor")


def frame_of(values, objectives=NAMES[:2]):
    """(method, seed) -> points, each of them a response of a policy of its own in a cluster of its own."""
    rows = [
        {"method": method, "seed": seed, "policy": f"head {place}", "cluster": place}
        | {f"lambda_{name}": np.nan for name in objectives}
        | {f"gold_{name}": value for name, value in zip(objectives, point, strict=True)}
        for (method, seed), points in values.items()
        for place, point in enumerate(points)
    ]
    return pd.DataFrame(rows)


def drawn(values, objectives=NAMES[:2], means=False):
    frame = frame_of(values, objectives)
    points = cluster_points(frame, objectives, "gold")
    also = policy_means(frame, objectives, "gold") if means else None
    with canvas(4, 4) as figure:
        ax = figure.subplots()
        styles = styles_of(frame["method"])
        draw_cluster_fronts(ax, points, objectives, "gold", styles, title="here", means=also)
    return ax, [np.asarray(line.get_xydata()).tolist() for line in ax.lines]


def test_one_seed_is_a_staircase_over_its_points():
    ax, (cloud, stairs) = drawn({("ham", 0): [(3, 0), (1, 2), (0, 0)]})
    assert cloud == [[3, 0], [1, 2], [0, 0]]
    assert stairs == [[1, 2], [3, 0]]
    # To the left of a point, all that is no higher is attained: the step goes down before it goes right.
    assert ax.lines[1].get_drawstyle() == "steps-pre"
    assert ax.get_title(loc="left") == "here"
    assert ax.get_xlabel().startswith("harmless")


def test_seeds_are_thin_and_their_median_bold():
    ax, (cloud, *thin, bold, hollow) = drawn(
        {("ham", 0): [(1, 2), (2, 1)], ("ham", 1): [(3, 1), (0.5, 3)], ("ham", 2): [(2.5, 2.5)]}, means=True
    )
    assert len(cloud) == len(hollow) == 5
    assert thin == [[[1, 2], [2, 1]], [[0.5, 3], [3, 1]], [[2.5, 2.5]]]
    # What two of three attain: (1, 2) and (0.5, 2.5) by the third and another, (2.5, 1) by the last two.
    assert bold == [[0.5, 2.5], [1, 2], [2.5, 1]]
    assert ax.lines[-2].get_linewidth() > ax.lines[1].get_linewidth()
    assert ax.lines[-1].get_markerfacecolor() == "white"


def test_two_of_three_objectives_have_a_front_of_their_own():
    frame = frame_of({("ham", 0): [(1, 1, 5), (2, 2, 0), (0, 3, 1)]}, NAMES)
    points = cluster_points(frame, NAMES, "gold")
    assert points["front"].all()
    with canvas(4, 4) as figure:
        ax = figure.subplots()
        draw_cluster_fronts(ax, points, NAMES[:2], "gold", styles_of(["ham"]), title="")
    assert np.asarray(ax.lines[1].get_xydata()).tolist() == [[0, 3], [2, 2]]


@pytest.mark.parametrize(("m", "seeds"), [(2, 1), (2, 3), (2, 4), (3, 2), (3, 3)])
def test_the_median_front_is_what_half_of_the_fronts_attain(m, seeds):
    generator = np.random.default_rng((m, seeds))
    sets = [generator.integers(0, 6, size=(8, m)).astype(float) for _ in range(seeds)]
    found = median_front([points[is_non_dominated(points)] for points in sets])
    assert is_non_dominated(found).all()
    assert (np.diff(found[:, 0]) >= 0).all()
    grid = np.stack(np.meshgrid(*[np.arange(-1, 7)] * m), axis=-1).reshape(-1, m)
    for point in grid:
        attained = sum(coverage(points, [point]) for points in sets) >= seeds / 2
        assert attained == (coverage(found, [point]) == 1)


def surface_of(values, methods):
    points = cluster_points(frame_of(values, NAMES), NAMES, "gold")
    with canvas(4, 4) as figure:
        ax = figure.add_subplot(projection="3d")
        draw_cluster_fronts_3d(ax, points, NAMES, "gold", styles_of(methods), title="there")
        figure.canvas.draw()
    (collection,) = [found for found in ax.collections if isinstance(found, Poly3DCollection)]
    return ax, np.asarray(collection._faces), np.asarray(collection._facecolor3d)


def test_a_surface_is_the_edge_of_what_the_front_attains():
    front = np.array([[2.0, 0, 1], [0, 3, 0], [1, 1, 2]])
    ax, faces, _ = surface_of({("ham", 0): front}, ["ham"])
    corners = faces.reshape(-1, 3)
    low = np.array([limits[0] for limits in (ax.get_xlim(), ax.get_ylim(), ax.get_zlim())])
    assert (low < front.min(axis=0)).all()
    assert (corners >= low - 1e-9).all()
    assert coverage(front + 1e-9, corners) == 1
    # Further out on any ray nothing is attained.
    assert coverage(front, low + 1.001 * (corners - low)) == 0
    assert ax.get_zlabel() == "humor →"


def test_all_surfaces_are_sorted_together_in_the_methods_colours():
    ahead, behind = [(2, 0, 1), (0, 2, 1)], [(1, 0, 0), (0, 1, 0)]
    _, faces, colours = surface_of({("ham", 0): ahead, ("sca", 0): behind}, ["ham", "sca"])
    # Lit faces are lighter, never darker, than the legend says.
    half = len(faces) // 2
    for part, method in ((colours[:half], "ham"), (colours[half:], "sca")):
        assert (part[:, :3] >= np.array(to_rgb(styles_of([method])[method].colour)) - 1e-9).all()
    outer, inner = faces[:half].reshape(-1, 3), faces[half:].reshape(-1, 3)
    assert (
        np.linalg.norm(outer - outer.min(0), axis=1) >= np.linalg.norm(inner - outer.min(0), axis=1)
    ).all()


def test_a_flat_front_has_a_surface_too():
    _, faces, colours = surface_of({("ham", 0): [(1, 1, 1)]}, ["ham"])
    assert np.isfinite(faces).all()
    assert np.isfinite(colours).all()


def radar(values, objectives=NAMES):
    with canvas(4, 4) as figure:
        ax = figure.add_subplot(projection="polar")
        draw_radar(ax, values, objectives, styles_of(values), title="means")
    return ax


def test_radar_spokes_run_from_the_worst_to_the_best():
    ax = radar({"ham": [1, 5, -1], "sca": [0, 5, 1], "ric": [0.25, 5, 0]})
    lengths = [np.asarray(line.get_ydata()).tolist() for line in ax.lines]
    # Level methods are all best; polygons are closed.
    assert lengths == [[1, 1, 0, 1], [0, 1, 1, 0], [0.25, 1, 0.5, 0.25]]
    angles = np.asarray(ax.lines[0].get_xdata(), dtype=float)
    np.testing.assert_allclose(np.diff(angles[:3]), -2 * np.pi / 3)
    texts = [text.get_text() for text in ax.texts]
    assert texts[:4] == ["harmless", "HaM 1.00", "SCA 0.00", "RiC 0.25"]
    assert len(texts) == 3 * 4


def test_radar_of_five_objectives_and_one_method():
    ax = radar({"ham": np.arange(5.0)}, tuple("abcde"))
    assert np.asarray(ax.lines[0].get_ydata()).tolist() == [1] * 6


def test_legends_explain_what_is_drawn():
    styles = styles_of(["ham", "ric"])

    def labels(*args, **options):
        return [handle.get_label() for handle in legend_entries(styles, *args, **options)]

    assert labels("surface") == labels("radar") == ["HaM", "RiC"]
    assert labels("plane") == ["HaM", "RiC", "one policy on one cluster"]
    assert labels("plane", seeds=3, means=True)[3:] == [
        "front of one of 3 seeds (bold: median)",
        "one policy on all prompts",
    ]


def test_what_cannot_be_drawn_is_refused():
    frame = frame_of({("ham", 0): [(1, 1, 1)]}, NAMES)
    points = cluster_points(frame, NAMES, "gold")
    with canvas(4, 4) as figure:
        ax = figure.subplots()
        with pytest.raises(UserError, match="3 objectives in a panel with 2 axes"):
            draw_cluster_fronts(ax, points, NAMES, "gold", styles_of(["ham"]), title="")
        with pytest.raises(UserError, match="2 objectives in a panel with 3 axes"):
            draw_cluster_fronts_3d(ax, points, NAMES[:2], "gold", styles_of(["ham"]), title="")
        with pytest.raises(UserError, match="no points of method 'ric'; there are ham"):
            draw_cluster_fronts(ax, points, NAMES[:2], "gold", styles_of(["ric"]), title="")
    with pytest.raises(UserError, match="2 objectives; allowed are three or more"):
        radar({"ham": [1, 2]}, NAMES[:2])
    with pytest.raises(UserError, match="'ham' has values"):
        radar({"ham": [1, 2, np.nan]})
    with pytest.raises(UserError, match="no methods"):
        radar({})


def test_equal_tables_give_equal_bytes(tmp_path):
    generator = np.random.default_rng(0)
    values = {(method, seed): generator.normal(size=(6, 3)) for method in ("ham", "sca") for seed in range(2)}
    points = cluster_points(frame_of(values, NAMES), NAMES, "gold")
    for name in ("a", "b"):
        with canvas(6, 3) as figure:
            ax = figure.add_subplot(1, 2, 1, projection="3d")
            draw_cluster_fronts_3d(ax, points, NAMES, "gold", styles_of(["ham", "sca"]), title="")
            plane = figure.add_subplot(1, 2, 2)
            draw_cluster_fronts(plane, points, NAMES[:2], "gold", styles_of(["ham", "sca"]), title="")
        save_figure(figure, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
