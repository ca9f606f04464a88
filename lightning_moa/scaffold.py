"""The files that a method of one's own begins with (`moa new method NAME`). Light: texts alone."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from lightning_moa.errors import UserError

METHOD = '''"""{title}: a method of one's own, a LightningModule as the package's are."""

import numpy as np
import torch

import lightning_moa as moa


class {kind}(moa.Alignment):
    """Draws a preference for each update. What an update is made of are the answers that it is given."""

    aggregation = moa.Linear  # how m losses become one, where no other is given

    def preference(self, step: int) -> torch.Tensor:
        """(m,) on the simplex: a function of (seed, step) alone, so that a stopped training goes on to the same end."""
        drawn = moa.sample_preferences(self.m, 1, np.random.default_rng([self.seed, step]))
        return torch.from_numpy(drawn[0]).float()
'''

TEST = '''"""{title} trains under a plain Trainer, and draws what its seed says."""

import lightning
import torch
from {name} import {kind}

import lightning_moa as moa


def test_{name}_trains_and_is_validated():
    data = moa.TrainingData("synthetic", batch_size=8, options={{"pairs": 32, "eval_pairs": 8}})
    model = moa.build_model(tokenizer=data.tokenizer, hidden_size=16, layers=1, heads=2, intermediate_size=32)
    policy = moa.SVDLoRA(model, k=2, m=len(data.objectives))
    before = {{name: value.clone() for name, value in policy.trained_state().items()}}
    method = {kind}(policy, moa.DPO(beta=0.1), lr=0.01)
    assert torch.equal(method.preference(3), method.preference(3))
    trainer = lightning.Trainer(max_steps=4, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(method, data)
    assert any(not torch.equal(before[name], value) for name, value in policy.trained_state().items())
    assert "val/loss" in trainer.validate(method, data)[0]
'''

BASELINE = "panacea"
"""What the script names the method that it compares with."""
SCRIPT = '''"""{title} beside Panacea, three seeds: python compare_{name}.py [key=value ...]"""

import sys

import lightning_moa as moa

METHODS = {{
    "panacea": moa.Product("panacea", "svd_lora", "dpo", "linear", moa.TrainedOn.sampled(), moa.Steered()),
    "{name}": moa.Product(
        method="{name}:{kind}",
        policy="svd_lora",
        objective="dpo",
        aggregation="tchebycheff",
        trained_on=moa.TrainedOn.sampled(),
        deployment=moa.Steered(),
    ),
}}
SETTINGS = {{"dpo.beta": 0.5, "dpo.lr": 0.01, "dpo.steps": 100, "sft.steps": 400, "sft.batch_size": 128}}

if __name__ == "__main__":
    changed = dict(word.split("=", 1) for word in sys.argv[1:])
    moa.run_study(METHODS, seeds=[0, 1, 2], settings=SETTINGS | changed, name="{name}")
'''


def new_method(name: str, folder: Path) -> list[Path]:
    """Write a method, its test, and a script that compares it; returns their paths.

    Args:
        name: of the module, in small letters, digits and underscores.
        folder: where they go; made if missing.

    Raises:
        UserError: a name that no module can have, or a file that is there already. Nothing is written then.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"moa new method {name}: a name in small letters, digits and underscores is needed")
    if name == BASELINE:
        raise UserError(
            f"moa new method {name}: the method that it is compared with has that name; another is needed"
        )
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or find_spec(name) is not None:
        raise UserError(
            f"moa new method {name}: Python, or a package that is installed, has that name; another is needed"
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder; another --folder is needed")
    words = [word for word in name.split("_") if word]
    given = {"name": name, "kind": "".join(map(str.capitalize, words)), "title": " ".join(words).capitalize()}
    if keyword.iskeyword(given["kind"]):
        raise UserError(f"moa new method {name}: {given['kind']} is a word of Python; another name is needed")
    files = {f"{name}.py": METHOD, f"test_{name}.py": TEST, f"compare_{name}.py": SCRIPT}
    for file in files:
        if (folder / file).exists():
            raise UserError(f"{folder / file} is there already; another name, or --folder, is needed")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            # A file of this name is whole, or not there.
            (folder / f".{file}.new").write_text(text.format(**given))
            (folder / f".{file}.new").rename(folder / file)
    except OSError as error:
        raise UserError(f"{folder}: can't be written, {error.strerror or error}") from error
    return [folder / file for file in files]
