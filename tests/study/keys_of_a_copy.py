"""Which tasks of a study have other keys after an edit of the package that this process has imported.

    python -m tests.study.keys_of_a_copy EDITS

EDITS is JSON: name -> file of the package -> text that is added to it, or that a new file has. Printed is JSON: name ->
the names of the tasks whose keys the edit changes; the files are as they were before the next one. For a copy of the
package, which is first on Python's path.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import lightning_moa
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.methods.products import (
    GAPO_P1_PPO,
    LINEAR_PPO,
    MGDA_PPO,
    PANACEA_LS_DPO,
    PGAPO_PPO,
    Product,
    ham,
    ric,
)
from lightning_moa.study import tasks
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.tasks import in_order

PACKAGE = Path(lightning_moa.__file__).parent
METHODS: Mapping[str, Product] = {
    "gapo": GAPO_P1_PPO,
    "pgapo": PGAPO_PPO,
    "mgda": MGDA_PPO,
    "linear": LINEAR_PPO,
    "panacea": PANACEA_LS_DPO,
    "ham": ham(2),
    "ric": ric([[0.0, 1.0], [1.0, 0.0]]),
}


def keys() -> dict[str, str]:
    """Key to name of every task."""
    tasks._digests.cache_clear()
    config = schema_of(METHODS)(seeds=[0], data=SyntheticConfig(), exact_beta=0.5)
    config.evaluation.grid_step, config.online.rounds = 0.5, 1
    return {task.key: task.name for task in in_order(plan_study(config, METHODS).targets())}


def changed(edit: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """The names of the tasks whose keys an edit changes."""
    paths = {PACKAGE / name: text for name, text in edit.items()}
    kept = {path: path.read_text() if path.exists() else None for path in paths}
    for path, text in paths.items():
        path.write_text((kept[path] or "") + text)
    after = keys()
    for path, content in kept.items():
        path.unlink() if content is None else path.write_text(content)
    return sorted({name for key, name in before.items() if key not in after})


if __name__ == "__main__":
    assert PACKAGE.parent == Path.cwd(), f"{PACKAGE} is no copy"
    first = keys()
    found = {name: changed(edit, first) for name, edit in json.loads(sys.argv[1]).items()}
    assert keys() == first
    print(json.dumps({"tasks": sorted(set(first.values())), **found}))
