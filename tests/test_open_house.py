"""Rooms that know no answer by name: one of ours has no way into a study, a run or a forecast that one from outside
has not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_moa import deployments
from lightning_moa.deployments import Deployment
from lightning_moa.methods.sections import TABLES

PACKAGE = Path(deployments.__file__).resolve().parents[1]
ROOMS = ("study", "runs", "forecast", "config")
SOURCES = [path for room in ROOMS for path in sorted((PACKAGE / room).glob("*.py"))]

SHORT = {name for table in TABLES.values() for name in table}
PATHS = {known.path for table in TABLES.values() for known in table.values()}
DEPLOYMENTS = {
    name
    for name in deployments.__all__
    if isinstance(kind := getattr(deployments, name), type) and issubclass(kind, Deployment)
} - {"Deployment"}
CLASSES = {path.rpartition(":")[2] for path in PATHS} | DEPLOYMENTS
ORDINARY = {("model", "heads")}
"""Words of ours that mean something else under a key: a base model's attention heads."""
WORDS = {"heads", "linear", "likelihood"}
"""Which are attributes of much else."""
SCHEDULE = "linear"
"""Of the learning rate, in its own file."""
LEFT = {
    "runs/schedules.py": {SCHEDULE},
}
"""What is still known by name, or means something else in a whole file."""


def named(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each answer of ours that a source knows by name: by its class, wherever that stands; by its
    short name, where a value is compared with it, looked up by it, or asked for it as an attribute."""
    tree = ast.parse(source)
    torchs = set(_from_torch(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                yield from _class(node.lineno, alias.name.rpartition(".")[2])
        elif isinstance(node, ast.Name):
            yield from _class(node.lineno, node.id)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in torchs:
            yield from _class(node.lineno, node.attr)
        elif isinstance(node, ast.Constant) and node.value in CLASSES | PATHS:
            yield node.lineno, node.value
    for node in ast.walk(tree):
        for word in _compared(node):
            if word in SHORT:
                yield node.lineno, word  # type: ignore[attr-defined]


def _from_torch(tree: ast.AST) -> Iterator[str]:
    """What torch's modules are called there: nn.Linear is none of ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            yield from (alias.asname or alias.name for alias in node.names)


def _class(line: int, name: str) -> Iterator[tuple[int, str]]:
    if name in CLASSES:
        yield line, name


def _compared(node: ast.AST) -> Iterator[str]:
    """The words that a node compares with, or looks up."""
    if isinstance(node, ast.Compare):
        for side in (node.left, *node.comparators):
            yield from _words(side)
    elif isinstance(node, ast.Attribute) and node.attr not in WORDS:
        yield node.attr
    elif isinstance(node, ast.MatchValue):
        yield from _words(node.value)
    elif isinstance(node, ast.Subscript):
        for word in _words(node.slice):
            if (ast.unparse(node.value).split("[")[-1].strip("'\"]"), word) not in ORDINARY:
                yield word
    elif isinstance(node, ast.Dict):
        for key in node.keys:
            yield from _words(key)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
        "get",
        "getattr",
        "hasattr",
    ):
        for each in node.args:
            yield from _words(each)


def _words(node: ast.AST | None) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        for each in node.elts:
            yield from _words(each)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_answer_of_ours_is_known_by_name(path: Path) -> None:
    place = f"{path.parent.name}/{path.name}"
    found = sorted({name for _, name in named(path.read_text())})
    assert found == sorted(LEFT.get(place, ())), "an answer's own is a hook on the answer"


def test_the_names_are_those_of_all_tables() -> None:
    assert {"dpo", "ppo", "heads", "svd_lora", "linear", "gapo", "panacea"} <= SHORT
    assert {"DPO", "PPO", "Heads", "SVDLoRA", "Steered", "Soup", "EachHead", "InPrompt"} <= CLASSES
    assert "lightning_moa.objectives.ppo:PPO" in PATHS


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from lightning_moa.objectives import PPO as P", ["PPO"]),
        ("isinstance(policy, policies.Heads)", ["Heads"]),
        ("kind = 'lightning_moa.objectives.dpo:DPO'", ["lightning_moa.objectives.dpo:DPO"]),
        ("if spec['objective'] == 'ppo': pass", ["ppo"]),
        ("if spec['objective'] in ('other', 'dpo'): pass", ["dpo"]),
        ("spec['sections']['heads']['number']", ["heads"]),
        ("config.get('ppo')", ["ppo"]),
        ("config.ppo.steps", ["ppo"]),
        ("getattr(config, 'dpo', None)", ["dpo"]),
        ("grid = {'lora': 3}[kind]", ["lora"]),
        ("match kind:\n    case 'ppo': pass", ["ppo"]),
        ("spec['model']['heads'] + model['heads']", []),
        ("raise UserError('ppo is not there')", []),
        ("heads = linear(model, 'x')", []),
        ("from torch import nn as modules\nmodules.Linear", []),
        ("from lightning_moa import aggregation\naggregation.Linear", ["Linear"]),
    ],
)
def test_what_counts_as_a_name(source: str, found: list[str]) -> None:
    assert [name for _, name in named(source)] == found
