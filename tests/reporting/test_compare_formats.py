"""How a comparison is shown where names are anybody's."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from lightning_moa.reporting.compare import compare
from lightning_moa.reporting.compare_formats import comparison_table
from lightning_moa.reporting.compare_plot import comparison_figure
from lightning_moa.reporting.loaded import load_runs

from .frames import points_frame
from .test_compare import put


def test_a_name_in_a_terminal_is_no_markup(tmp_path: Path) -> None:
    put(tmp_path, points_frame({"gapo[p=1]": 1.0, "x[/b]": 0.5}, noise=0))
    shown = StringIO()
    Console(file=shown, width=200).print(comparison_table(compare(load_runs([tmp_path]))))
    assert all(name in shown.getvalue() for name in ("gapo[p=1]", "x[/b]"))


def test_a_dollar_sign_in_a_picture_begins_no_formula(tmp_path: Path) -> None:
    put(tmp_path, points_frame({r"$\frac$x": 1.0, "y": 0.5}, noise=0))
    figure = comparison_figure(load_runs([tmp_path]), "gold")
    figure.savefig(tmp_path / "compared.png")
    assert (tmp_path / "compared.png").stat().st_size > 0
