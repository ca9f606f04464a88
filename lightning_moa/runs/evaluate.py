"""A method's trained policies, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_moa.answers import load
from lightning_moa.deployments import Deployed, Deployment
from lightning_moa.runs.context import Trained
from lightning_moa.runs.measuring import Measure
from lightning_moa.runs.training import prepare, steps_of
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def evaluate(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """Accuracies and rewards of a method's policies on the grid of preferences, as CSVs without the study's names.

    Returns:
        `evaluated`: the rows that it measured on, as `Measure.rows` counts them.
    """
    prepare(spec["hardware"])
    measure = Measure(spec, inputs)
    trained = [path for role, path in inputs.items() if role.startswith("policy")]
    steps = max(map(steps_of, trained), default=0)
    given = spec["deployment"]
    if given is None:
        measure.add(Deployed("reference", measure.base, step=0), steps)
    else:
        kind: type[Deployment] = load(given["class"], "deployment")
        run = Trained(spec, inputs, measure.objectives, measure.tokenizer, measure.base, kind.sections)
        for done, deployed in enumerate(kind(**given["options"]).policies(run), 1):
            measure.add(deployed, steps, kind.__name__, on_pairs=kind.on_pairs)
            progress(min(1.0, done / max(len(trained), done)))
    measure.write(out)
    progress(1.0)
    return {"evaluated": measure.rows()}
