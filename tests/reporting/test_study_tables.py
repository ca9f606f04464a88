"""What a script shows at its end: numbers stay whole in eighty columns, as a pipe has them."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from lightning_moa.reporting.claims import OF_RULE
from lightning_moa.reporting.study_tables import methods_table, sensitivity_lines


def test_numbers_stay_whole_where_there_is_little_room() -> None:
    names = ["panacea_tche_as_all_of_rewarded_soups", "dps"]
    rows = [
        {"method": name, "space": space, "hypervolume": 12.345, "mean_regret": 6.789}
        | {"trained_models": 11, "trained_parameters": 134_515_008, "training_steps": 1_234}
        for name in names
        for space in ("accuracy", "gold", "reward")
    ]
    timings = pd.DataFrame({"method": names, "seconds": [12_345.6, 7.8]})
    shown = io.StringIO()
    Console(file=shown, width=80).print(methods_table("panacea figure5", pd.DataFrame(rows), timings))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for seconds in ("12346", "8"):
        (line,) = [line for line in lines if line.split()[-1:] == [seconds]]
        assert line.split()[1:] == ["12.345"] * 3 + ["6.789", "11", "134,515,008", "1,234", seconds]
    assert "".join(line.split()[0] for line in lines[4:] if line.strip()).startswith(names[0])


def test_a_verdict_changes_where_both_are_there() -> None:
    """The strongest rival, which the statistic names, is another one; and a claim that one point can't ask."""
    rows = [
        ("a", "difference to dps > bound", OF_RULE, "holds"),
        ("a", "difference to soups > bound", "far", "fails"),
        ("b", "difference to dps > bound", OF_RULE, "holds"),
        ("b", "difference to soups > bound", "far", "holds"),
        ("c", "spread > bound", OF_RULE, "holds"),
        ("d", "spread > bound", "far", "holds"),
    ]
    frame = pd.DataFrame(rows, columns=["claim", "statistic", "reference", "verdict"]).assign(where="gold")
    assert sensitivity_lines(frame) == ["reference point: 4 verdicts rest on it; 1 change at 'far'"]
