"""The trained policies that a page offers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning_moa.demo.answers import Choice
from lightning_moa.inference.found import TrainedMethod, chosen, trained_policies
from lightning_moa.inference.loading import Loaded, load
from lightning_moa.inference.sources import of_folder, of_study
from lightning_moa.task_files import SIDECAR


def choices(
    folder: str | Path,
    methods: Sequence[str] | None = None,
    *,
    seed: int | None = None,
    runs: str | Path | None = None,
    own: Sequence[type] = (),
    device: str | None = None,
) -> list[Choice]:
    """A choice for each method of a study, or the one of a policy's own folder. None is loaded yet.

    Args:
        folder, seed, runs, own, device: as for `moa.load`.
        methods: by name; None: all.

    Raises:
        UserError: as `moa.load`.
    """
    if (Path(folder) / SIDECAR).is_file():
        objectives = tuple(of_folder(Path(folder)).spec["objectives"])
        return [
            Choice(Path(folder).parent.name, objectives, partial(load, folder, own=own, device=device), None)
        ]
    names = methods or list(dict.fromkeys(each.method for each in trained_policies(folder, runs)))
    return [_choice(chosen(folder, name, seed, runs), own, device) for name in names]


def _choice(study: TrainedMethod, own: Sequence[type], device: str | None) -> Choice:
    source = of_study(study)
    label = f"{study.method}, seed {study.seed}"
    return Choice(label, tuple(source.spec["objectives"]), lambda: Loaded(source, own, device), study, own)
