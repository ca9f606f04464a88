"""What a study's trainings are logged to and watched by at the user's wish (`trainer.logger`, `trainer.callbacks`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from lightning_moa.answers import load
from lightning_moa.data.training import TrainingData
from lightning_moa.errors import UserError
from lightning_moa.runs.context import Context
from lightning_moa.task_files import partial_folder


@contextmanager
def own_loggers(run: Context, out: Path) -> Iterator[list[Logger]]:
    """Besides the run's CSV, for the block. They write below `out`, W&B without a network.

    Raises:
        UserError: the logger's package is not installed.
    """
    kind = run.spec.get("trainer", {}).get("logger", "csv")
    found: list[Logger] = []
    try:
        if kind == "tensorboard":
            found = [TensorBoardLogger(out, name="log", version="tensorboard")]
        elif kind == "wandb":
            name = partial_folder(out).name.removeprefix("partial-")
            found = [WandbLogger(name, out / "log", project="lightning_moa", offline=True)]
    except ModuleNotFoundError as error:
        raise UserError(f"trainer.logger={kind}: {str(error).splitlines()[0]}") from error
    try:
        yield found
    finally:
        for logger in found:
            # Of a process there is one run at a time: the next training would be logged to this one's.
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()


def own_callbacks(run: Context) -> list[Callback]:
    """Those that the user names; what looks at held-out prompts is given the study's.

    Raises:
        UserError: there is none of that name, or it is no callback that can be built without arguments.
    """
    found: list[Callback] = []
    for path in run.spec.get("trainer", {}).get("callbacks", []):
        where = f"trainer.callbacks={path}"
        try:
            made: Any = load(path, "trainer.callbacks")()
        except TypeError as error:
            raise UserError(f"{where}: it must be built without arguments ({error})") from error
        if getattr(made, "data", made) is None:
            made.data = TrainingData(run.data, tokenizer=run.tokenizer)
        if not isinstance(made, Callback):
            raise UserError(f"{where}: a Lightning Callback is expected, {type(made).__name__} came")
        found.append(made)
    return found
