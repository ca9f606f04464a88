"""A study's trained policies, as its run.yaml names them. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_moa.errors import UserError
from lightning_moa.folders import refuse_links_out, run_in
from lightning_moa.reporting.run_record import read_run_record
from lightning_moa.run_folders import is_done, record

RECORD = "run.yaml"


@dataclass(frozen=True)
class TrainedMethod:
    """A method's trained policies of one seed."""

    results: Path
    """The folder of the results."""
    runs: Path
    method: str
    seed: int
    deployment: str
    """How they are used, such as `Steered`."""
    measurement: str
    """The run that measured them."""
    policies: tuple[tuple[str, Mapping[str, float] | None], ...]
    """The run of each, and the preference that it was trained for; None: for none, or for all."""

    @property
    def folders(self) -> list[Path]:
        """Where each policy lies."""
        return [run_in(self.runs, run) / "policy" for run, _ in self.policies]

    def is_there(self) -> bool:
        """Whether the runs are on this machine."""
        runs = [run for run, _ in self.policies]
        return all(is_done(self.runs, run) for run in (self.measurement, *runs))

    def measured(self) -> dict[str, Any]:
        """What the measurement was: its settings (`spec`) and the runs that it needed (`inputs`).

        Raises:
            UserError: the runs are not here.
        """
        if not self.is_there():
            raise UserError(
                f"{self.results / RECORD}: the runs of {self.method}, seed {self.seed}, are not in {self.runs}; --runs "
                "says where they are, or the script makes them again"
            )
        return record(self.runs, self.measurement)

    def prompts(self, most: int) -> list[str]:
        """The first held-out prompts that it was measured on, each once."""
        import pandas as pd

        frame = pd.read_csv(
            self.runs / self.measurement / "responses.csv",
            keep_default_na=False,
            dtype=str,
            usecols=["prompt"],
        )
        return list(dict.fromkeys(frame["prompt"]))[:most]


def trained_policies(results: str | Path, runs: str | Path | None = None) -> list[TrainedMethod]:
    """The trained policies of a study, or of all studies below a folder.

    Args:
        results: a folder with a run.yaml, or one above such folders.
        runs: the folder of the runs; None: where run.yaml says.

    Raises:
        UserError: no results there, or older ones, whose run.yaml names no policies.
    """
    folder = Path(results)
    if folder.name == RECORD:
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"{results}: no such folder; allowed is a folder of results")
    files = sorted(folder.rglob(RECORD))
    refuse_links_out(folder, files)
    if not files:
        raise UserError(
            f"{results}: no {RECORD} in it; allowed is a folder of results, or one above such folders"
        )
    found = [each for file in files for each in _named_by(file, runs)]
    if not found:
        raise UserError(
            f"{files[0]}: names no trained policies: the script trains none, or these are older results, and it has to "
            "be run again (what lies in its runs folder is not trained again)"
        )
    return found


def chosen(
    results: str | Path, method: str | None = None, seed: int | None = None, runs: str | Path | None = None
) -> TrainedMethod:
    """One method and seed of a study: the only method where none is named, the first seed.

    Raises:
        UserError: as for `trained_policies`; or no such method or seed, or several that it could be.
    """
    found = trained_policies(results, runs)
    methods = list(dict.fromkeys(each.method for each in found))
    if method is None and len(methods) > 1:
        raise UserError(f"{results}: several methods, {', '.join(methods)}; say which (--method)")
    mine = [each for each in found if each.method == (method or methods[0])]
    if not mine:
        raise UserError(f"{results}: no trained method {method!r}; there are {', '.join(methods)}")
    ours = [each for each in mine if seed is None or each.seed == seed]
    if not ours:
        seeds = ", ".join(str(each.seed) for each in mine)
        raise UserError(f"{results}: {mine[0].method} has no seed {seed}; there are {seeds}")
    folders = {each.results for each in ours}
    if len(folders) > 1:
        shown = ", ".join(map(str, sorted(folders)))
        raise UserError(f"{results}: {mine[0].method} is in several folders, {shown}; name one")
    return ours[0]


def _preference(told: Any) -> Mapping[str, float] | None:
    return None if told is None else {str(name): float(weight) for name, weight in dict(told).items()}


def _named_by(file: Path, runs: str | Path | None) -> list[TrainedMethod]:
    said = read_run_record(file) or {}
    where = Path(runs) if runs is not None else file.parent / str(said.get("runs") or ".")
    try:
        return [
            TrainedMethod(
                results=file.parent,
                runs=where.resolve(),
                method=str(each["method"]),
                seed=int(each["seed"]),
                deployment=str(each["deployment"]),
                measurement=str(each["measurement"]),
                policies=tuple((str(one["run"]), _preference(one["preference"])) for one in each["trained"]),
            )
            for each in said.get("policies") or []
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: its policies are not as a study writes them ({error!r})") from error
