"""What a script shows at its end: numbers stay whole in eighty columns, as a pipe has them."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from lightning_moa.reporting.study_tables import methods_table


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
