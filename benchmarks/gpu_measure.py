"""One case of the benchmark of large models, measured in this process: the model, its rows, some updates.

    python -m benchmarks.gpu_measure CASE.json RESULT.json     (gpu_7b starts it so, once for each case)

It takes the way of a study's training task (`lightning_moa.runs.align`): the base model is loaded in the case's
precision from safetensors, the policy and the method are built of the task's spec, Lightning's Trainer fits them.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import pandas as pd
import psutil
import torch
from lightning.pytorch.callbacks import Callback

from benchmarks.gpu_cases import Case, architecture, task_of
from benchmarks.measuring import peak_memory
from lightning_moa.data import DATASETS
from lightning_moa.data.about import ABOUT
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import ScoredRows
from lightning_moa.data.tables import GoldReward, PairTable
from lightning_moa.objectives.held_out import keep_reference
from lightning_moa.policies import save_model
from lightning_moa.processes import full_size
from lightning_moa.reporting.run_record import hardware, package_versions
from lightning_moa.runs.align import first_policy
from lightning_moa.runs.context import Answers, Context, build_method
from lightning_moa.runs.loading import pretrained
from lightning_moa.runs.training import fit, prepare

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GIB = 2**30
SPECIAL = ("<pad>", "<s>", "</s>")


def measure(case: Case, weights: Path) -> dict[str, Any]:
    """Load, train for some updates, and say what that took.

    Args:
        case: what to measure.
        weights: folder of its model, as `make_weights` leaves it.
    """
    gpu = case.accelerator == "gpu"
    spec = dict(task_of(case, weights).spec)
    prepare(spec["hardware"])
    torch.manual_seed(0)
    started = time.monotonic()
    with metered(gpu) as memory, TemporaryDirectory() as folder:
        base, tokenizer = pretrained(spec["model"], spec["hardware"])
        loaded, weights_gib = time.monotonic() - started, memory.held()
        data = LongestRows(spec, case.rows, len(tokenizer))
        inputs = leave_inputs(spec, data, Path(folder))
        updates = case.warm_up + case.steps
        run = Context(spec, inputs, Answers.of(spec), data, tokenizer, base, updates)
        run = replace(run, policy=first_policy(run))
        objective = run.answers.objective
        source = objective.rows(run)
        source.use(
            tokenizer,
            objective.view,
            batch_size=case.rows,
            steps=updates,
            seed=0,
            **objective.batch_inputs(run),
        )
        clock = Clock(memory.wait, case.warm_up, started + case.seconds)
        method = build_method(run)
        out = Path(folder) / "run"
        fit(
            method,
            source,
            spec["hardware"],
            out,
            batches=updates,
            progress=lambda share: None,
            callbacks=[clock],
        )
        trained = sum(full_size(each) for each in run.policy.trainable_parameters())
        sampled = sampled_tokens(out)
    return {
        "trained": trained,
        "load_s": loaded,
        "steps": len(clock.counted),
        "step_s": statistics.median(clock.counted),
        "step_min_s": min(clock.counted),
        "step_max_s": max(clock.counted),
        "sampled_tokens": sampled,
        "weights_gib": weights_gib,
        "peak_gib": memory.peak,
        "reserved_gib": memory.reserved,
        "outside_gib": memory.outside,
    }


class Clock(Callback):
    """Times updates, and ends the training when its time is over and one update has counted."""

    def __init__(self, wait: Callable[[], None], warm_up: int, until: float) -> None:
        self.wait = wait
        self.warm_up = warm_up
        self.until = until
        self.seconds: list[float] = []
        self.last = 0.0

    @property
    def counted(self) -> list[float]:
        """Seconds of each update after those that warm up."""
        return self.seconds[self.warm_up :]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.wait()
        self.last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.wait()
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now
        if self.counted and time.monotonic() > self.until:
            trainer.should_stop = True


@dataclass
class Memory:
    """What the block took, in GiB; known at its end."""

    held: Callable[[], float]
    """What is held now, more than at the block's beginning."""
    wait: Callable[[], None]
    """Returns when the device has done all that it was given."""
    peak: float = math.nan
    reserved: float = math.nan
    """On a GPU, what the allocator had taken of the device at most: the peak, its rounding and holes."""
    outside: float = math.nan
    """On a GPU, what the process has taken of it besides: CUDA's context, loaded kernels, NCCL."""


@contextmanager
def metered(gpu: bool) -> Iterator[Memory]:
    """Meters the GPU's memory, or this process's resident memory (Linux)."""
    if not gpu:
        process = psutil.Process()
        before = process.memory_info().rss
        memory = Memory(lambda: (process.memory_info().rss - before) / GIB, lambda: None)
        with peak_memory() as taken:
            yield memory
        memory.peak = taken["mib"] / 1024
        return
    torch.cuda.reset_peak_memory_stats()
    memory = Memory(lambda: torch.cuda.memory_allocated() / GIB, torch.cuda.synchronize)
    yield memory
    torch.cuda.synchronize()
    memory.peak = torch.cuda.max_memory_allocated() / GIB
    memory.reserved = torch.cuda.max_memory_reserved() / GIB
    free, whole = torch.cuda.mem_get_info()
    memory.outside = (whole - free - torch.cuda.memory_reserved()) / GIB


def machine(accelerator: str) -> dict[str, Any]:
    """The device, the machine around it, and the versions that a speed hangs on."""
    prepare({"accelerator": accelerator, "tf32": False})
    own, versions = hardware(), package_versions()
    device, size = own["cpu"], own["memory_gib"]
    if accelerator == "gpu":
        properties = torch.cuda.get_device_properties(0)
        device, size = properties.name, properties.total_memory / GIB
    return {
        "device": device,
        "device_gib": size,
        "cpu": own["cpu"],
        "cores": own["cores"],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: versions[name] for name in ("transformers", "lightning", "deepspeed", "bitsandbytes")},
    }


def make_weights(model: str, size: str, accelerator: str, folder: Path) -> None:
    """Write a model with random weights in bfloat16, and a tokenizer with a word for each of its tokens."""
    from transformers import AutoModelForCausalLM

    prepare({"accelerator": accelerator, "tf32": False})
    config = architecture(model, size)
    torch.manual_seed(0)
    # A GPU draws billions of numbers in seconds, a CPU in minutes.
    with torch.device("cuda" if accelerator == "gpu" else "cpu"):
        network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    words(config.vocab_size).save_pretrained(folder)
    # The configuration is written last: a folder that has one is complete.
    save_model(network, folder)


def words(vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the words w3, w4, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {word: number for number, word in enumerate(SPECIAL)}
    known |= {f"w{number}": number for number in range(len(SPECIAL), vocabulary)}
    plain = Tokenizer(models.WordLevel(known, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, start, end = SPECIAL
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token=pad, bos_token=start, eos_token=end)


class LongestRows(PreferenceData):
    """As many pairs as a batch has rows, of words drawn at random.

    Prompts and responses are as long as the settings allow, which is what a plan counts with; but one prompt is a
    single word, so that logits of nearly every place are formed, as in a batch of mixed lengths.
    """

    def __init__(self, spec: dict[str, Any], rows: int, vocabulary: int) -> None:
        self.rows = rows
        self.vocabulary = vocabulary
        super().__init__(DATASETS[spec["data"]["name"]].config(**spec["data"]), spec["objectives"])

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        return tuple(objectives or ())

    def tables(self) -> dict[str, PairTable]:
        draw = random.Random(0)

        def text(count: int) -> str:
            return " ".join(f"w{draw.randrange(len(SPECIAL), self.vocabulary)}" for _ in range(count))

        # Beside BOS and EOS.
        response = self.config.max_response_length - 1
        prompt = self.config.max_length - EncodingRules.of(self.config).room - 1
        prompts = [text(prompt if row else 1) for row in range(self.rows)]
        pairs = [(text(response), text(response)) for _ in prompts]
        labels = np.arange(self.rows * len(self.objectives)).reshape(self.rows, -1) % 2.0
        table = PairTable(prompts, pairs, labels, self.objectives)
        return {"train": table, "eval": table}

    def gold_rewards(self) -> dict[str, GoldReward]:
        """Objective i: the share of words whose number is a multiple of i + 2."""
        return {name: partial(_share, i + 2) for i, name in enumerate(self.objectives)}


def _share(divisor: int, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
    numbers = [[int(word[1:]) for word in text.split()] for text in responses]
    return np.array([np.mean([number % divisor == 0 for number in row] or [False]) for row in numbers])


def leave_inputs(spec: dict[str, Any], data: LongestRows, folder: Path) -> dict[str, Path]:
    """What a study's earlier tasks would have left: reference log-probs, or scored rows."""
    table = data.table("train")
    response = data.config.max_response_length
    guess = -response * math.log(data.vocabulary)
    keep_reference(folder, "train", np.full((len(table), 2), guess), data)
    rewards = np.linspace(0.1, 0.9, len(table) * len(data.objectives)).reshape(len(table), -1)
    columns: dict[str, Any] = {"prompt": table.prompts, "response": [pair[0] for pair in table.responses]}
    for name, column in zip(data.objectives, rewards.T, strict=True):
        columns |= {f"score_{name}": column, f"reward_{name}": column}
    ScoredRows(pd.DataFrame(columns), data.objectives, EncodingRules.of(data.config)).write(folder)
    # None of the random model's values are clipped.
    (folder / ABOUT).write_text(json.dumps({"z": -4 * guess}))
    return {"reference": folder, "rows": folder}


def sampled_tokens(out: Path) -> float:
    """Mean length of the responses that were sampled; NaN where none are."""
    path = out / "log" / "metrics.csv"
    log = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    return float(log["length"].mean()) if "length" in log else math.nan


def main(order: Path, result: Path) -> None:
    """What one process is started for: a description of the machine, a model's weights, or a case."""
    asked = json.loads(order.read_text())
    try:
        if asked["what"] == "machine":
            found = machine(asked["accelerator"])
        elif asked["what"] == "weights":
            make_weights(asked["model"], asked["size"], asked["accelerator"], Path(asked["folder"]))
            found = {}
        else:
            found = measure(Case(**asked["case"]), Path(asked["folder"]))
    except Exception as error:
        # Out of memory above all; the whole of it goes to the log, a line to the results.
        result.write_text(json.dumps({"error": first_line(error)}))
        raise
    result.write_text(json.dumps(found))


def first_line(error: BaseException) -> str:
    """An exception's name and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
