"""The options of `moa plan`, and its rows. Light until there are rows to work out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_moa.data.configs import WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.forecast.flops import Gpu, gpu_named
from lightning_moa.reporting.plan_table import PlanRow
from lightning_moa.strategies.choices import check_hardware, processes_of
from lightning_moa.study.artefacts import studies_of
from lightning_moa.study.chosen import chosen_methods
from lightning_moa.study.planning import plan_study
from lightning_moa.study.study import Part

SHORT = ("accelerator", "devices", "nodes", "strategy", "precision", "optimiser", "tf32")
"""Keys that stand for `hardware.<key>`."""
OWN = {"gpu": None, "utilisation": "0.35", "gpu_type": "h100", "rows": None}
"""Keys of the plan's own and what they are where they aren't given."""


@dataclass(frozen=True)
class PlanOptions:
    """A plan's own options."""

    gib: float
    """Memory of a GPU."""
    utilisation: float
    """Share of a GPU's peak that runs reach."""
    gpu: Gpu
    gpu_type: str
    rows: int | None
    """Rows of the training split; None: as many as were published."""


@dataclass(frozen=True)
class PlanRows:
    """A plan's rows, and lines that go with them."""

    rows: list[PlanRow]
    notes: list[str]
    warnings: list[str]
    processes: int


def parse_options(words: Sequence[str]) -> tuple[PlanOptions, list[str]]:
    """The plan's own options of a command line, and the script's.

    Raises:
        UserError: an option's value that is not allowed.
    """
    own: dict[str, str | None] = dict(OWN)
    rest = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in own:
            own[key] = value
        else:
            rest.append(f"hardware.{word}" if equals and key in SHORT else word)
    gpu = gpu_named(str(own["gpu_type"]))
    gib = float(gpu.gib) if own["gpu"] is None else _number("gpu", own["gpu"], "GiB of a GPU")
    utilisation = _number("utilisation", str(own["utilisation"]), "a share of the peak")
    if utilisation > 1:
        raise UserError(f"utilisation={utilisation:g}: a share above 0 and up to 1 is allowed")
    rows = None if own["rows"] is None else int(_number("rows", own["rows"], "rows"))
    return PlanOptions(gib, utilisation, gpu, str(own["gpu_type"]), rows), rest


def plan_of(path: Path, options: PlanOptions, words: Sequence[str]) -> PlanRows:
    """The rows of a script's studies.

    Raises:
        UserError: a script that has no study, settings that are not allowed, or something that isn't known offline.
    """
    studies = studies_of(path, words)
    _, config, _ = studies[0]
    hardware = asdict(config.hardware)
    warnings = check_hardware(hardware) + without_bfloat16(hardware, options)
    notes = [note for study in studies for note in stand_in(study)]
    if hardware["accelerator"] == "cpu":
        notes.append(
            f"The hours are those of the GPU named, {options.gpu_type}, and not of this study's CPUs"
        )
    known: set[str] = set()
    rows = []
    for study in studies:
        made, more = _rows(study, options, processes_of(hardware), known)
        rows += made
        notes += more
    return PlanRows(rows, list(dict.fromkeys(notes)), warnings, processes_of(hardware))


def without_bfloat16(hardware: Mapping[str, Any], options: PlanOptions) -> list[str]:
    """A line where the runs would compute in bfloat16 and the GPU that is planned for has none."""
    if options.gpu.bfloat16 or hardware["accelerator"] == "cpu" or hardware["precision"] == "fp32":
        return []
    what = (
        "it"
        if hardware["precision"] == "bf16"
        else "what stays out of the quantised layers, which is bfloat16,"
    )
    return [
        f"hardware.precision={hardware['precision']} on gpu_type={options.gpu_type}: it has no bfloat16, and would "
        f"compute {what} many times slower than planned, if at all; fp32 is what it has"
    ]


def stand_in(study: Part) -> list[str]:
    """Let what a study's runs need and its settings don't name yet count as there; a line for each such thing. The
    settings are changed."""
    _, config, methods = study
    if isinstance(config.data, WorldConfig):
        return []
    notes = []
    for one in chosen_methods(config, methods).values():
        before, section = dict(vars(one.settings)), getattr(config, next(iter(one.objective.sections)))
        note = one.objective.stand_in(one.settings, __file__)
        for key, value in vars(one.settings).items():
            if value != before[key]:
                setattr(section, key, value)
        if note is not None:
            notes.append(note)
    return notes


def _rows(
    study: Part, options: PlanOptions, processes: int, known: set[str]
) -> tuple[list[PlanRow], list[str]]:
    from lightning_moa.forecast.memory import GIB, MARGIN, peak
    from lightning_moa.forecast.rows import is_known, rows_of

    label, config, methods = study
    size = options.gib * GIB / (1 + MARGIN)
    made, notes = [], []
    for row in rows_of(plan_study(config, methods), options.rows, known):
        one = row.forecast
        phase, kinds = peak(one.phases)
        name = f"{row.name} ({label})" if label else row.name
        if not is_known(row.task):
            notes.append(f"{name}: what it does is not known; counted are the base model's weights alone")
        made.append(
            PlanRow(
                run=name,
                count=row.count,
                trained=one.trained,
                frozen=one.frozen,
                steps=one.steps,
                rows=one.rows,
                tokens=one.tokens,
                phase=phase,
                memory=kinds,
                host=one.host,
                largest=row.largest_batch(size),
                flops=one.work.flops,
                hours=one.work.hours(options.gpu, processes, options.utilisation),
            )
        )
    return made, notes


def _number(key: str, text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"{key}={text}: {what}, a number above 0, is expected") from error
    if not 0 < value < float("inf"):
        raise UserError(f"{key}={text}: {what}, a number above 0, is expected")
    return value
