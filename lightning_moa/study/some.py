"""Some of a script's methods, or others beside them: their tables and fronts, without the script's claims."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_moa.reporting.plots import front_figure, save_figure
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, print_methods, print_place
from lightning_moa.study.study import Methods, Study


def conduct_some(study: Study, config: Any, methods: Methods, console: Console) -> None:
    """Train and measure the methods in each of the script's studies; tables and a picture of the fronts go to a folder
    that bears their names, and that of the data. What the script claims of all its methods is not asked."""
    script = Path(study.file).resolve()
    for label, own, mine in study.parts_of(config, methods):
        part = re.sub(r"\W+", "_", label).strip("_")
        artefact = Artefact.begin(script.parent.name, script.stem, own, part, chosen="+".join(mine))
        collected = conduct(own, mine, console)
        tables = artefact.tables(collected)
        artefact.write(collected, tables, None)
        fronts = {}
        if collected.exact is not None:
            gold = [f"gold_{name}" for name in collected.objectives]
            fronts["gold"] = collected.exact.front[gold].to_numpy()
        accuracies = tables.accuracies if len(tables.accuracies) else None
        spaces = [*(["accuracy"] if accuracies is not None else []), collected.space]
        title = f"{script.stem} {label}: {', '.join(mine)}"
        picture = front_figure(tables.points, accuracies, spaces=spaces, fronts=fronts, title=title)
        path = artefact.folder / "fronts.png"
        save_figure(picture, path)
        print_methods(console, artefact, collected, tables)
        print_place(console, "picture", path)
    console.print("claims: not asked, for they are about all of the script's methods", highlight=False)
