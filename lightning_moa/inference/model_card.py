"""The model card of an exported policy: what it is, what it was trained on, what was measured of it, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from lightning_moa.data.configs import CONFIGS, WorldConfig
from lightning_moa.inference.found import RECORD, TrainedMethod
from lightning_moa.policies.packaged import PACKAGED, is_packaged
from lightning_moa.policies.vocabulary import NEVER
from lightning_moa.reporting.fronts import final_rows, preferences_of
from lightning_moa.reporting.markdown import markdown_table, one_line
from lightning_moa.reporting.run_record import read_run_record
from lightning_moa.reporting.schema import ACCURACIES, POINTS
from lightning_moa.rewards.sources import TRAINED, Source
from lightning_moa.run_folders import record

if TYPE_CHECKING:
    from lightning_moa.inference.loading import Loaded, Opened

CARD = "README.md"
SAME = 1e-6
"""How far two preferences may be apart that are the same."""


def model_card(loaded: Loaded, opened: Opened, merged: bool) -> str:
    """Markdown, with the front matter that the hub reads."""
    study = loaded.source.study
    parts = [
        _front_matter(loaded, merged),
        f"# {_title(loaded)}, {_said(loaded, opened)}\n",
        _what(loaded, opened, merged),
        "## Training\n\n" + _bullets(_training(loaded, opened)),
        "## Data\n\n" + _bullets(_data(loaded)),
        "## Metrics\n\n" + _metrics(loaded, opened),
        "## Limits\n\n" + _bullets(_limits(loaded, opened)),
        "## Made by\n\n" + _bullets(_made_by(study)),
    ]
    return "\n".join(parts)


def _front_matter(loaded: Loaded, merged: bool) -> str:
    model = loaded.spec["model"]
    known: dict[str, Any] = {
        "library_name": "transformers" if merged else "peft",
        "pipeline_tag": "text-generation",
    }
    if is_packaged(model["path"]):
        known["base_model"] = PACKAGED[model["path"]].base
    elif model["path"] is not None and not Path(model["path"]).expanduser().is_dir():
        known["base_model"] = model["path"]
    known["tags"] = ["multi-objective-alignment", *loaded.objectives]
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=True)}---\n"


def _title(loaded: Loaded) -> str:
    study = loaded.source.study
    return "A trained policy" if study is None else study.method


def _said(loaded: Loaded, opened: Opened) -> str:
    if opened.preference is None:
        return f"policy {opened.deployed.name}, trained without a preference"
    return "at " + _weights(loaded.objectives, opened.preference.tolist())


def _weights(objectives: Sequence[str], values: Sequence[float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in zip(objectives, values, strict=True))


def _what(loaded: Loaded, opened: Opened, merged: bool) -> str:
    form = (
        "The whole model, with the policy's update in its weights"
        if merged
        else "A LoRA adapter of the base model"
    )
    held = ""
    if opened.preference is not None and opened.deployed.rewrite is None:
        held = " It is held at one preference; another one is another export."
    lines = [
        f"{form}, {_said(loaded, opened)}. Objectives, all of them maximised: {', '.join(loaded.objectives)}.{held}",
        f"Base model: {_base(loaded)}. Prompts were put into the template `{loaded.spec['data']['template']!r}`.",
    ]
    if opened.deployed.rewrite is not None:
        shown = opened.deployed.rewrite(f"PROMPT{opened.deployed.ending}")
        # In a line, whatever line ends stand before the prompt's own ending.
        shown = repr(shown)[1:-1] if opened.deployed.ending else shown
        lines.append(f"The preference stands in the prompt, which has to be written as `{shown}`.")
    return "\n\n".join(lines) + "\n"


def _base(loaded: Loaded) -> str:
    model = loaded.spec["model"]
    if model["path"] is None:
        sizes = f"{model['layers']} layers of width {model['hidden_size']}"
        return f"a small {model['family']} built and fine-tuned for the study ({sizes})"
    if is_packaged(model["path"]):
        one = PACKAGED[model["path"]]
        return f"{one.base}, dequantised from {one.file} of {one.requirement}, {loaded.spec['hardware']['precision']}"
    at = f" at {model['revision']}" if model["revision"] else ""
    name = Path(model["path"]).name if Path(model["path"]).expanduser().is_dir() else model["path"]
    return f"{name}{at}, {loaded.spec['hardware']['precision']}"


def _training(loaded: Loaded, opened: Opened) -> list[str]:
    runs = [loaded.source.inputs[role] for role in sorted(loaded.source.inputs) if role.startswith("policy")]
    made = [record(run.parent, run.name) for run in runs]
    spec = made[0]["spec"]
    answers = {
        kind: spec[kind].partition(":")[2] for kind in ("policy", "objective", "aggregation", "method")
    }
    steps = sorted({each["steps"] for each in made})
    settings = spec["settings"]
    return [
        f"Policy {answers['policy']}, objective {answers['objective']}, aggregation {answers['aggregation']}, "
        f"method {answers['method']}; used as {type(loaded._deployment).__name__}.",
        f"{' or '.join(map(str, steps))} updates each, {len(made)} trained "
        f"{'policy' if len(made) == 1 else 'policies'} of {made[0]['trained_parameters']} parameters, "
        f"seed {spec['seed']}.",
        f"Settings: {', '.join(f'{key} {value}' for key, value in settings.items() if value is not None)}.",
        *(
            f"Rewards of {name}: {words_of(source, spec['data'])}."
            for name, source in spec["rewards"].items()
        ),
    ]


def words_of(source: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What scored the responses that were trained on, in words."""
    scored = getattr(CONFIGS.get(data["name"]), "scored", False)
    if scored and source["kind"] == TRAINED:
        return "the data's own scores, and for what was sampled a model trained on them"
    return Source.from_json(source).describe()


def _data(loaded: Loaded) -> list[str]:
    data = loaded.spec["data"]
    labels = ", ".join(f"{name} by {column}" for name, column in data["labels"].items())
    return [
        f"{data['name']}{' at ' + data['revision'] if data['revision'] else ''}"
        f"{', local files' if data['path'] else ''}.",
        f"Labels: {labels}." if labels else "Labels: the data set's own.",
        f"Held out: {data['eval_fraction']:g} of the prompts, where it has no test split.",
    ]


def _metrics(loaded: Loaded, opened: Opened) -> str:
    study = loaded.source.study
    if study is None:
        return "Not known here: exported from the policy's own folder, not from its study's results.\n"
    parts = []
    for table in (POINTS, ACCURACIES):
        path = study.results / table.file
        if path.is_file():
            rows, near = _rows_of(table.read(path), study, opened)
            if rows is not None:
                parts.append(_table(rows, loaded.objectives, near))
    measured = bool(parts)
    said = (read_run_record(study.results / RECORD) or {}).get("rewards") or {}
    parts += [f"Rewards: {said['reward']}. True rewards: {said['gold']}.\n"] if said else []
    return "\n".join(parts) if measured else "None: its study's results have no row of it.\n"


def _rows_of(frame: pd.DataFrame, study: TrainedMethod, opened: Opened) -> tuple[pd.DataFrame | None, bool]:
    """The row at the policy's preference or of its name, or else the nearest one; and whether that is the one. Of
    several policies at one preference it is the row of the one that was opened."""
    mine = final_rows(frame[(frame["method"] == study.method) & (frame["seed"] == study.seed)])
    if opened.preference is None:
        mine = mine[mine["policy"] == opened.deployed.name]
        return (mine, True) if len(mine) else (None, False)
    named = mine[mine["policy"] == opened.deployed.name]
    mine = named if len(named) else mine
    away = np.linalg.norm(preferences_of(mine) - opened.preference.numpy(), axis=1)
    if not len(away) or np.isnan(away).all():
        return None, False
    place = int(np.nanargmin(away))
    return mine.iloc[[place]], bool(away[place] <= SAME)


def _table(rows: pd.DataFrame, objectives: Sequence[str], same: bool) -> str:
    row = rows.iloc[0]
    groups = {"reward_": "reward", "gold_": "true reward", "accuracy_": "implicit accuracy"}
    shown = [
        [f"{words} of {name}", f"{row[prefix + name]:.4g}"]
        for prefix, words in groups.items()
        for name in objectives
        if prefix + name in rows and not np.isnan(row[prefix + name])
    ]
    if "kl" in rows and not np.isnan(row["kl"]):
        shown.append(["KL from the base, nats a response", f"{row['kl']:.4g}"])
    what = "held-out pairs" if "kl" not in rows else "held-out prompts"
    nearest = ""
    if not same:
        weights = [float(row[f"lambda_{name}"]) for name in objectives]
        nearest = f"This preference was not measured; the nearest one that was is {_weights(objectives, weights)}.\n\n"
    over = f"Over {int(row['n'])} {what}, higher is better but for KL:"
    return f"{nearest}{over}\n\n{markdown_table(['', 'mean'], shown)}"


def _limits(loaded: Loaded, opened: Opened) -> list[str]:
    data = loaded.spec["data"]
    found = [
        f"The numbers are of one seed, {loaded.spec['seed']}: other seeds differ.",
        "Rewards are what the sources named above give; nobody has checked them against people's judgements here.",
        f"Nothing was measured beyond the objectives {', '.join(loaded.objectives)}: neither truthfulness, nor safety, "
        "nor other languages or topics than the data's.",
        "The licences of the base model and of the data hold for it.",
    ]
    if issubclass(CONFIGS.get(data["name"], object), WorldConfig):
        found.insert(0, "Trained in a small synthetic world of a few hundred words: of no use for real text.")
    silent = _silent(opened)
    if silent:
        found.append(
            f"{silent} ids of the base's vocabulary have no text. Here they were never sampled; stock libraries may."
        )
    if opened.distance > SAME:
        found.append("The preference that was asked for is another than this policy's own.")
    return found


def _silent(opened: Opened) -> int:
    """Ids that were kept from being sampled (`policies.vocabulary.agree`)."""
    head: Any = opened.policy.model.get_output_embeddings()
    # Of an adapted head, and of several heads, it is the base's.
    bias = getattr(getattr(head, "base", head), "bias", None)
    return 0 if bias is None else int((bias <= NEVER / 2).sum())


def _made_by(study: TrainedMethod | None) -> list[str]:
    said = None if study is None else read_run_record(study.results / RECORD)
    if said is None or study is None:
        return ["lightning_moa"]
    commit, packages = said.get("commit") or {}, said.get("packages") or {}
    changed = " with changes" if commit.get("dirty") else ""
    named = ", ".join(
        f"{name} {packages[name]}" for name in ("torch", "transformers", "peft") if name in packages
    )
    return [
        f"lightning_moa, commit {commit.get('id') or 'not known'}{changed}; {named}.",
        f"The run of {study.method}, seed {study.seed}: {', '.join(run for run, _ in study.policies)}.",
    ]


def _bullets(lines: Sequence[str]) -> str:
    return "".join(f"- {one_line(line)}\n" for line in lines)
