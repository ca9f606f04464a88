"""Nothing here reads or writes a pickle, whose loading runs what it says, nor lets a library do so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "lightning_moa").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")])
MODULES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve")
# Lightning's own checkpoints are pickles of everything, its callback's are gone on from without being asked to.
NAMES = (
    "OnExceptionCheckpoint",
    "ModelCheckpoint",
    "save_checkpoint",
    "load_from_checkpoint",
    "read_pickle",
    "to_pickle",
)
CALLS = ("torch.load", "torch.save")
WORDS = ("ckpt_path",)
TRUE_WORDS = ("allow_pickle", "trust_remote_code", "auto_requeue", "enable_checkpointing")


def found(tree: ast.AST) -> list[str]:
    """What a file does that it must not."""
    said = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            said += [each.name for each in node.names if each.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            said += [node.module or ""] if (node.module or "").partition(".")[0] in MODULES else []
            said += [each.name for each in node.names if each.name in NAMES]
        elif isinstance(node, ast.Attribute):
            said += [ast.unparse(node)] if ast.unparse(node) in CALLS or node.attr in NAMES else []
        elif isinstance(node, ast.Name):
            said += [node.id] if node.id in NAMES else []
        elif isinstance(node, ast.keyword):
            untrue = isinstance(node.value, ast.Constant) and node.value.value is False
            if node.arg in WORDS or (node.arg in TRUE_WORDS and not untrue):
                said.append(ast.unparse(node))
    return said


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_has_nothing_to_do_with_pickles(path):
    assert found(ast.parse(path.read_text())) == []


def test_the_trainer_and_slurm_are_told_so():
    """Left out, both would be on."""
    for name, word in (
        ("runs/training", "enable_checkpointing=False"),
        ("strategies/trainer", "auto_requeue=False"),
    ):
        assert word in (ROOT / "lightning_moa" / f"{name}.py").read_text()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path, weights_only=True)",
        "torch.save(state, path)",
        "trainer.save_checkpoint(path)",
        "trainer.fit(module, ckpt_path=path)",
        "from lightning.pytorch.callbacks import OnExceptionCheckpoint",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=allowed)",
        "Auto.from_pretrained(name, trust_remote_code=True)",
        "SLURMEnvironment(auto_requeue=True)",
    ],
)
def test_the_walk_sees_them(line):
    assert found(ast.parse(line))
