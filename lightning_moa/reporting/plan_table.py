"""What `moa plan` prints and writes: a row for each kind of run. Light: no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

GIB = 2**30


@dataclass(frozen=True)
class PlanRow:
    """All runs of one kind. Sizes are bytes on each device."""

    run: str
    count: int
    trained: int
    frozen: int
    steps: int
    rows: int
    """Of a batch on one device; 0 where that does not matter."""
    tokens: float
    """Trained on by one run, over all its devices."""
    phase: str
    """When it takes the most."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """Kind to bytes, in that phase."""
    host: float = 0.0
    largest: int | None = None
    """Rows a device that would fit."""
    flops: float = 0.0
    """Of one run, over all its devices."""
    hours: float = 0.0
    """Of one run."""

    @property
    def peak(self) -> float:
        """Bytes at its peak."""
        return sum(self.memory.values())

    def fits(self, size: float, margin: float) -> str:
        """yes; "maybe" where the estimate's margin decides; no."""
        if self.peak * (1 + margin) <= size:
            return "yes"
        return "maybe" if self.peak <= size else "no"


def plan_table(rows: Sequence[PlanRow], gib: float, margin: float, title: str) -> Table:
    """The rows for a terminal; kinds of memory that are small in all of them are left to the CSV."""
    # As it is: the brackets of a list among the settings are no markup.
    table = Table(title=Text(title), title_justify="left")
    table.add_column("run", overflow="fold")
    for heading in ("trained", "frozen", "rows", "GiB a device", "when"):
        table.add_column(heading, justify="left" if heading == "when" else "right")
    table.add_column("of which, in GiB", overflow="fold")
    for heading in (f"fits {gib:g}", "most rows", "tokens", "PFLOP", "hours", "all, hours"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row.run} x {row.count}" if row.count > 1 else row.run,
            _short(row.trained),
            _short(row.frozen),
            str(row.rows or "-"),
            f"{row.peak / GIB:.2f} ± {row.peak * margin / GIB:.2f}",
            row.phase,
            _kinds(row),
            row.fits(gib * GIB, margin),
            "-" if row.largest is None else str(row.largest),
            _short(row.tokens),
            f"{row.flops / 1e15:.3g}",
            f"{row.hours:.3g}",
            f"{row.hours * row.count:.3g}",
        )
    return table


def _kinds(row: PlanRow) -> str:
    """The kinds that make up its peak, the largest first, down to a hundredth of it."""
    shown = sorted(row.memory.items(), key=lambda item: -item[1])
    parts = [f"{name} {size / GIB:.2f}" for name, size in shown if size >= row.peak / 100]
    if row.host:
        parts.append(f"(and {row.host / GIB:.1f} a process in the machine's memory)")
    return ", ".join(parts)


def plan_csv(rows: Sequence[PlanRow], gib: float, margin: float, kinds: Sequence[str]) -> str:
    """The rows as CSV, every digit kept: sizes in bytes, a column for each kind of memory."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["run", "count", "trained", "frozen", "steps", "rows_per_device", "tokens", "phase", "peak_bytes"]
    tail = ["margin", "gpu_gib", "fits", "host_bytes", "largest_rows_per_device", "flops", "hours"]
    writer.writerow([*head, *(f"{kind}_bytes" for kind in kinds), *tail])
    for row in rows:
        first = [row.run, row.count, row.trained, row.frozen, row.steps, row.rows, row.tokens, row.phase]
        sizes = [row.memory.get(kind, 0.0) for kind in kinds]
        last = [margin, gib, row.fits(gib * GIB, margin), row.host]
        largest = "" if row.largest is None else row.largest
        writer.writerow([*first, row.peak, *sizes, *last, largest, row.flops, row.hours])
    return out.getvalue()


def _short(count: float) -> str:
    """Such as 25.0M, 6.74G; - for nothing."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.3g}{letter}"
    return f"{count:g}" if count else "-"
