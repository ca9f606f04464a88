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

SHORT = ("accelerator", "devices", "nodes", "strategy", "precision", "optimiser", "tf32", "bf32")
"""Keys that stand for `hardware.<key>`."""
OWN = ("gpu", "utilisation", "gpu_type", "rows")
"""Keys of the plan's own."""
CORE = "cpu_core"
TYPE = {"gpu": "h100", "cpu": CORE}
"""hardware.accelerator -> gpu_type where it isn't given."""


@dataclass(frozen=True)
class PlanOptions:
    """A plan's own options."""

    gib: float
    """Memory of a GPU."""
    utilisation: float
    """Share of the peak that runs reach."""
    gpu: Gpu
    gpu_type: str
    rows: int | None
    """Rows of the training split; None: as many as were published."""


@dataclass(frozen=True)
class PlanRows:
    """A plan's rows, and lines that go with them."""

    options: PlanOptions
    rows: list[PlanRow]
    notes: list[str]
    warnings: list[str]
    processes: int


def split(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The plan's own words of a command line, and the script's."""
    own, rest = {}, []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in OWN:
            own[key] = value
        else:
            rest.append(f"hardware.{word}" if equals and key in SHORT else word)
    return own, rest


def options_of(own: Mapping[str, str], accelerator: str = "gpu") -> PlanOptions:
    """The plan's options by its own words, for what a study trains on.

    Raises:
        UserError: a value that is not allowed.
    """
    kind = own.get("gpu_type", TYPE[accelerator])
    gpu = gpu_named(kind)
    gib = _number("gpu", own["gpu"], "GiB of a GPU") if "gpu" in own else float(gpu.gib)
    utilisation = gpu.reached
    if "utilisation" in own:
        utilisation = _number("utilisation", own["utilisation"], "a share of the peak")
    if utilisation > 1:
        raise UserError(f"utilisation={utilisation:g}: a share above 0 and up to 1 is allowed")
    rows = int(_number("rows", own["rows"], "rows")) if "rows" in own else None
    if rows is not None and rows != float(own["rows"]):
        raise UserError(f"rows={own['rows']}: rows, a whole number above 0, are expected")
    return PlanOptions(gib, utilisation, gpu, kind, rows)


def plan_of(path: Path, words: Sequence[str]) -> PlanRows:
    """The rows of a script's studies, by the words of a command line.

    Raises:
        UserError: a script that has no study, settings that are not allowed, or something that isn't known offline.
    """
    own, rest = split(words)
    options_of(own)
    studies = studies_of(path, rest)
    _, config, _ = studies[0]
    hardware = asdict(config.hardware)
    options = options_of(own, hardware["accelerator"])
    warnings = check_hardware(hardware) + without_bfloat16(hardware, options)
    notes = [note for study in studies for note in stand_in(study)]
    if hardware["accelerator"] == "cpu":
        notes += on_cpus(options)
    known: set[str] = set()
    rows = []
    for study in studies:
        made, more = _rows(study, options, processes_of(hardware), known)
        rows += made
        notes += more
    return PlanRows(options, rows, list(dict.fromkeys(notes)), warnings, processes_of(hardware))


def on_cpus(options: PlanOptions) -> list[str]:
    """What is to be said of a study that trains on CPUs."""
    if options.gpu_type != CORE:
        return [f"The hours are those of the GPU named, {options.gpu_type}, and not of this study's CPUs"]
    return [
        "Hours are those of one run after the other, on one core; workers=2 halves them on two cores, and takes the "
        "memory twice",
        "Memory is what is in use at once; glibc keeps up to as much again of what was freed "
        "(MALLOC_MMAP_THRESHOLD_=1048576 in the environment has it given back)",
    ]


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
