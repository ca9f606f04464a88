"""What the page of a result says, and all of it that could not be read."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lightning_moa.pages.found import RECORD, Part, Result
from lightning_moa.pages.fronts import front_data
from lightning_moa.pages.reading import (
    Cells,
    Picture,
    Reader,
    read_cells,
    read_picture,
    read_record,
)
from lightning_moa.pages.responses import measured_responses
from lightning_moa.reporting.catalogue import ARTEFACTS, Artefact, Claims, standing_of
from lightning_moa.reporting.claim_rows import ruled_out
from lightning_moa.reporting.exact_front import EXACT, known_beta, read_exact
from lightning_moa.reporting.loaded import Run
from lightning_moa.reporting.schema import ACCURACIES, CLAIMS, COSTS, METRICS, OURS, PAPER, POINTS, TIMINGS

OWN_TABLES = (POINTS.file, ACCURACIES.file, METRICS.file, TIMINGS.file, COSTS.file, CLAIMS.file, EXACT)
"""Shown elsewhere on the page, as plots, claims and measures."""
SYNTHETIC = "synthetic"
"""The data that are asked for where none are named."""
SMALL, LARGE = ("smoke", "tiny", "laptop"), ("gpu", "paper")
"""Scales whose results bear the name of their data, where these are not the artefact's own; and others."""
LONG = ("config", "policies", "packages")
"""Of a record: shown for themselves, or not at all."""
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Panel:
    """A part of a result, as its page shows it."""

    part: Part
    key: str
    """Of the part in the whole site."""
    name: str
    place: str
    """Its folder, as a command line names it."""
    run: Run | None
    """Its points and what lies beside them; None where there are none that can be read."""
    front: Mapping[str, Any] | None
    record: Mapping[str, Any]
    timings: Cells | None
    costs: Cells | None
    pictures: tuple[Picture, ...]
    tables: tuple[Cells, ...]
    responses: tuple[Cells, ...]
    measured: int
    """How many of them, the last, are from the folder of the runs."""

    @property
    def config(self) -> str:
        """Its configuration in YAML; empty where it is not known."""
        return dump(self.record["config"]) if self.record.get("config") else ""

    @property
    def packages(self) -> str:
        """Versions of libraries in YAML; empty where they are not known."""
        return dump(self.record["packages"]) if self.record.get("packages") else ""

    @property
    def measured_with(self) -> str:
        """The rest of its record in YAML."""
        return dump({key: value for key, value in self.record.items() if key not in LONG})


@dataclass(eq=False)
class Content:
    """A result's page."""

    result: Result
    artefact: Artefact | None
    """Of the papers; None for another study's."""
    claims: pd.DataFrame | None
    panels: list[Panel]
    problems: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return self.artefact.title if self.artefact else self.result.artefact

    @property
    def name(self) -> str:
        return " / ".join((self.result.paper, self.result.artefact, self.result.scale)).removesuffix(" / -")

    @property
    def standing(self) -> dict[str, Claims]:
        """PAPER and OURS -> how its claims stand; empty where none were judged."""
        return {} if self.claims is None else standing_of(self.claims)

    @property
    def record(self) -> Mapping[str, Any]:
        """That of its first part that has one."""
        return next((panel.record for panel in self.panels if panel.record), {})

    @property
    def methods(self) -> dict[str, str]:
        """Name -> label of the methods that have points, in their order."""
        drawn = [panel.front for panel in self.panels if panel.front]
        return {each["name"]: each["label"] for front in drawn for each in front["methods"]}

    @property
    def command(self) -> str | None:
        """What makes it again; None where no script of the papers makes it."""
        return None if self.artefact is None else command_of(self.artefact, self.result.scale, self.record)

    def claims_of(self, whose: str) -> list[dict[str, Any]]:
        """Rows of claims.csv, each with its `number` in the file, from 1, its `margin`, NaN where it has none, and what
        its noise `rules_out`, in words."""
        if self.claims is None:
            return []
        rows = self.claims.assign(number=range(1, len(self.claims) + 1))
        return [
            {
                "margin": math.nan,
                **{str(key): value for key, value in row.items()},
                "rules_out": ruled_out(row),
            }
            for row in rows[rows["whose"] == whose].to_dict("records")
        ]


def read_content(result: Result, runs: Path | None = None) -> Content:
    """Read all that is shown of a result.

    Args:
        result: of `find_results`.
        runs: the folder of the runs, for the responses that were measured; None: they are not looked for.
    """
    reader = Reader(result.folder, list(result.problems))
    claims = reader.read(result.parts[0].file(CLAIMS.file), CLAIMS.read)
    panels = [_panel(result, part, reader, runs) for part in result.parts]
    if not any(panel.part.files for panel in panels):
        reader.problems.append("nothing in it that can be shown")
    artefact = next(
        (each for each in ARTEFACTS if (each.paper, each.name) == (result.paper, result.artefact)), None
    )
    return Content(result, artefact, claims, panels, reader.problems)


def command_of(artefact: Artefact, scale: str, record: Mapping[str, Any]) -> str:
    """The command line that makes an artefact, with its scale, and the data, panels, methods and seeds of its record;
    settings that were changed besides are in its configuration.

    Args:
        artefact: of the papers.
        scale: as its folder is called, which may name data, panels and methods, too.
        record: run.yaml's.
    """
    config = record.get("config")
    config = config if isinstance(config, Mapping) else {}
    scale, chosen = _chosen(scale, config)
    # `figure_scale_objective` is made by figure_scale.py, told by the setting whose value is the rest of the name.
    rest = artefact.name.removeprefix(artefact.script).removeprefix("_")
    words = [f"{key}={rest}" for key, value in config.items() if rest and value == rest]
    seeds = config.get("seeds")
    if isinstance(seeds, list) and seeds and all(isinstance(seed, int) for seed in seeds):
        words.append(f"seeds=[{','.join(map(str, seeds))}]")
    line = ["python", f"experiments/{artefact.paper}/{artefact.script}.py", f"scale={scale}", *chosen, *words]
    return " ".join(shlex.quote(word) if not _is_plain(word) else word for word in line)


def _chosen(folder: str, config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The scale that a folder's name begins with (`Artefact.scale`), and the words that ask for the data, panels and
    methods of its record or of the name's rest."""
    scale, data, panels = config.get("scale"), config.get("data"), config.get("panels")
    first, _, last = folder.partition("-")
    if scale is None and first in SMALL:
        # Tables that were made of other results have no record.
        scale, data = first, {"name": last or SYNTHETIC}
    if scale != first:
        return folder, []
    name = str(data.get("name")) if isinstance(data, Mapping) else SYNTHETIC
    rest, named = folder.removeprefix(first), f"-{name.replace(':', '.')}"
    is_named = f"{rest}-".startswith(f"{named}-")
    rest = rest.removeprefix(named if is_named else "").removeprefix("-")
    if isinstance(panels, list) and rest == "+".join(map(str, panels)):
        key = "panels"
    else:
        # What is made of some of a script's methods names no data.
        key, is_named = "methods", is_named or bool(rest)
    words = [f"data={name}"] if name != SYNTHETIC and (is_named or first in LARGE) else []
    return first, [*words, *([f"{key}=[{rest.replace('+', ',')}]"] if rest else [])]


def _is_plain(word: str) -> bool:
    return all(each.isalnum() or each in "._-/=[]," for each in word)


def dump(value: Any) -> str:
    """A record in YAML, as run.yaml has it."""
    text: str = yaml.dump(value, Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=100)
    return text


def _panel(result: Result, part: Part, reader: Reader, runs: Path | None) -> Panel:
    name = "/".join((result.paper, result.artefact, result.scale, part.name)).rstrip("/")
    record = reader.read(part.file(RECORD), read_record) or {}
    exact = reader.read(part.file(EXACT), read_exact)
    run = _run(name, part, reader, record, known_beta(record, exact))
    front = None if run is None else reader.read(part.file(POINTS.file), lambda file: front_data(run, exact))
    if front is not None and front["left_out"]:
        reader.problems.append(f"{part.name or '.'}: {front['left_out']} points are too many to be drawn")
    pictures = [reader.read(file, read_picture) for file in part.files if file.suffix == ".png"]
    others = [file for file in part.files if file.suffix == ".csv" and file.name not in OWN_TABLES]
    place = {"paper": result.paper, "artefact": result.artefact, "scale": result.scale}
    read = [cells for file in others if (cells := reader.read(file, read_cells)) is not None]
    tables = [each.without(place) for each in read]
    responses = [each for each in tables if {"prompt", "response"} <= set(each.header)]
    measured = [] if runs is None else measured_responses(record, runs, reader.problems)
    return Panel(
        part,
        part.key,
        name,
        shlex.quote("/".join(filter(None, (result.place, part.name)))),
        run,
        front,
        record,
        reader.read(part.file(TIMINGS.file), read_cells),
        reader.read(part.file(COSTS.file), read_cells),
        tuple(picture for picture in pictures if picture is not None),
        tuple(each for each in tables if each not in responses),
        (*responses, *measured),
        len(measured),
    )


def _run(name: str, part: Part, reader: Reader, record: Mapping[str, Any], beta: float | None) -> Run | None:
    points = reader.read(part.file(POINTS.file), POINTS.read)
    accuracies = reader.read(part.file(ACCURACIES.file), ACCURACIES.read)
    metrics = reader.read(part.file(METRICS.file), METRICS.read)
    if points is None:
        return None
    return Run(name, Path(name) / POINTS.file, points, accuracies, dict(record) or None, metrics, beta)


__all__ = ["OURS", "PAPER", "Content", "Panel", "command_of", "dump", "read_content"]
