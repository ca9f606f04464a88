"""The table of a plan: verdicts, margins, and a CSV that keeps every digit."""

from __future__ import annotations

import csv
import io

from rich.console import Console

from lightning_moa.reporting.plan_table import GIB, PlanRow, plan_csv, plan_table

ROW = PlanRow(
    run="dps",
    count=11,
    trained=22_489_056,
    frozen=6_738_423_808,
    steps=578,
    rows=16,
    tokens=7.5e7,
    phase="forward",
    memory={"weights": 10.0 * GIB, "activations": 5.0 * GIB, "optimiser": 0.01 * GIB},
    largest=80,
    flops=3.123456789e18,
    hours=0.25,
)


def test_whether_it_fits_minds_the_margin():
    assert ROW.peak == 15.01 * GIB
    assert ROW.fits(20 * GIB, 0.15) == "yes"
    assert ROW.fits(16 * GIB, 0.15) == "maybe"
    assert ROW.fits(15 * GIB, 0.15) == "no"


def test_what_is_printed():
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(plan_table([ROW], 80, 0.15, "title"))
    text = console.export_text()
    for word in (
        "dps x 11",
        "22.5M",
        "6.74G",
        "15.01 ± 2.25",
        "weights 10.00, activations 5.00",
        "yes",
        "2.75",
    ):
        assert word in text
    assert "optimiser" not in text


def test_csv_keeps_every_digit():
    (row,) = csv.DictReader(io.StringIO(plan_csv([ROW], 80, 0.15, ["weights", "kv_cache"])))
    assert float(row["peak_bytes"]) == ROW.peak
    assert float(row["weights_bytes"]) == 10 * GIB
    assert float(row["kv_cache_bytes"]) == 0
    assert float(row["flops"]) == ROW.flops
    assert (row["count"], row["largest_rows_per_device"], row["fits"]) == ("11", "80", "yes")
