"""Whether two checkouts' scripts write the same results, byte by byte.

    python benchmarks/same_results.py OTHER [scale=smoke] [scripts=panacea/figure5,...] [key=value ...]

OTHER is another checkout or a revision of this repository. Every script of experiments/ runs in both, in one worker
on one thread, and every CSV is compared, but for a clock's readings. Other `key=value` go to the scripts.

    keep=FOLDER             an empty folder for both checkouts' runs and results, which are otherwise thrown away
    results=FOLDER          results of this checkout that were made before, as by results_dir=FOLDER
    other_results=FOLDER    the same of the other; OTHER can then be left out

Exit codes: 0 all are equal; 1 something differs, a script failed, or only one of the two has it; 2 bad input.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lightning_moa.errors import UserError
from lightning_moa.reporting.console import run_command

ROOT = Path(__file__).resolve().parents[1]
CLOCKS = {"timings.csv"}
# Others reuse their runs.
FIRST = ("panacea/figure4", "gapo/table_main")
LAST = "tables"


@dataclass
class Side:
    """One of the two: a checkout that is run, or results that were made before."""

    folder: Path
    kept: Path | None
    """Where a checkout's runs and results go."""

    @property
    def results(self) -> Path:
        return self.folder if self.kept is None else self.kept / "results"

    @property
    def scripts(self) -> set[str]:
        """Each as `<paper>/<name>`."""
        found = self.folder.glob("*/*/" if self.kept is None else "experiments/*/*.py")
        return {f"{path.parent.name}/{path.stem}" for path in found}


def main(words: list[str], root: Path = ROOT) -> int:
    """Run what is to be run, compare and print; the exit code."""
    given = {"scale": "smoke", **dict(word.split("=", 1) for word in words if "=" in word)}
    named = [word for word in words if "=" not in word]
    scripts, keep = given.pop("scripts", None), given.pop("keep", None)
    ours, theirs = given.pop("results", None), given.pop("other_results", None)
    if len(named) != (theirs is None):
        raise UserError("name one OTHER, a checkout or a revision, or else other_results=FOLDER")
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(keep or scratch).resolve()
        if kept.exists() and any(kept.iterdir()):
            raise UserError(f"keep={keep}: must be empty")
        made = [None if each is None else Side(existing(each), None) for each in (ours, theirs)]
        this = made[0] or Side(root, kept / "this")
        other = made[1] or Side(checkout(named[0], root, Path(scratch) / "checkout"), kept / "other")
        shared, lines = choose(this.scripts, other.scripts, scripts)
        for side in (this, other):
            lines += [said for script in shared if side.kept is not None for said in run(script, side, given)]
        files = sorted({file for script in shared for side in (this, other) for file in tables(side, script)})
        for file in files:
            said = difference(this.results / file, other.results / file)
            lines += [f"{file}: {said}"] if said else []
    print("\n".join([*lines, f"{len(files)} files of {len(shared)} scripts, {len(lines)} differences"]))
    return 1 if lines or not files else 0


def choose(this: set[str], other: set[str], wanted: str | None) -> tuple[list[str], list[str]]:
    """The scripts that both have, those last that reuse others' runs; and a line for each that one has."""
    chosen = set(wanted.split(",")) if wanted else this | other
    for script in sorted(chosen - this - other):
        raise UserError(f"scripts={script}: neither has it")
    both = sorted(chosen & this & other, key=lambda each: (each.endswith(LAST), each not in FIRST, each))
    alone = sorted(chosen & (this ^ other))
    return both, [f"{each}: only {'this' if each in this else 'other'} has it" for each in alone]


def existing(folder: str) -> Path:
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    return Path(folder).resolve()


def checkout(other: str, root: Path, new: Path) -> Path:
    """The folder of a checkout; of a revision, its files in a new one."""
    if Path(other).is_dir():
        return existing(other)
    done = subprocess.run(["git", "archive", other], cwd=root, capture_output=True)
    if done.returncode:
        raise UserError(f"{other}: neither a folder nor a revision ({done.stderr.decode().strip()})")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(new, filter="data")
    return new


def run(script: str, side: Side, given: dict[str, str]) -> list[str]:
    """Run a script of a checkout; a line if it fails."""
    name = side.results.parent.name
    fixed = {"workers": "1", "runs_dir": f"{side.kept}/runs", "results_dir": f"{side.results}"}
    command = [sys.executable, f"experiments/{script}.py", *(f"{k}={v}" for k, v in (given | fixed).items())]
    environment = {**os.environ, "PYTHONPATH": str(side.folder), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    done = subprocess.run(command, cwd=side.folder, env=environment, capture_output=True, text=True)
    print(f"{name}: {script}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    said = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == 2:
        raise UserError(f"{script}: {said.removeprefix('error: ')}")
    return [f"{script}: failed in {name}: {said}"] if done.returncode else []


def tables(side: Side, script: str) -> set[str]:
    """A script's CSVs, below the results folder."""
    found = (side.results / script).rglob("*.csv")
    return {path.relative_to(side.results).as_posix() for path in found if path.name not in CLOCKS}


def difference(this: Path, other: Path) -> str:
    """How two CSVs differ; empty where they are the same bytes."""
    for path, name in ((this, "other"), (other, "this")):
        if not path.exists():
            return f"only {name} has it"
    if this.read_bytes() == other.read_bytes():
        return ""
    try:
        a, b = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (this, other))
    except ValueError:
        return "not both are tables"
    if list(a) != list(b):
        return f"other columns: {', '.join(sorted({*a} ^ {*b})) or 'in another order'}"
    if len(a) != len(b):
        return f"{len(a)} rows in this, {len(b)} in other"
    unequal = a != b
    columns = [str(name) for name in a if unequal[name].any()]
    if not columns:
        return "the same cells in other bytes"
    gaps = [pd.to_numeric(a[name], "coerce") - pd.to_numeric(b[name], "coerce") for name in columns]
    largest = pd.concat(gaps).abs().max()
    by = f", by up to {largest:.3g}" if largest > 0 else ""
    return f"{int(unequal.any(axis=1).sum())} of {len(a)} rows differ{by}: {', '.join(columns)}"


if __name__ == "__main__":
    sys.exit(print(__doc__) if "--help" in sys.argv else run_command(lambda: main(sys.argv[1:])))
