"""Scripts that are killed again and again, at random moments: do they end with the bytes of undisturbed ones?

    python -m benchmarks.kills FOLDER [--kills 1000] [--minutes 60] [--seed 0] [--scripts panacea/figure5 ...]

Every script of experiments/ runs undisturbed once at `scale=smoke`. Then cases are drawn: a script, by one worker or
two, or as two processes that train each policy together; some of its runs are taken away; it is started, ended by
SIGKILL, SIGTERM, SIGINT or SIGUSR1, and started again, until a last start may finish. Each signal must end the start
with the code that the script promises and without a traceback, and in the end every CSV and every file of every run
must be, byte by byte, what the undisturbed start left, and nothing else may lie there.

FOLDER keeps the undisturbed runs and a log of each kill; a later start goes on from there. Prints a table and writes
results/benchmarks/kills.csv; exit code 1 where anything differed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measuring import RESULTS, report
from lightning_moa.reporting.under_way import STUDIES
from lightning_moa.study.artefacts import study_of
from tests import forked
from tests.study.starts import by_torchrun

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""SIGKILL as often as what may leave a checkpoint: nothing is written after it."""
WAYS = ((1, 1),) * 5 + ((2, 1),)
"""(workers, processes) that are drawn from. A start of several imports all libraries as often, so there are fewer."""
KILLS = {1: (8, 24), 2: (1, 3)}
"""Processes that a start brings up -> least and most kills of a case."""
TOGETHER = (1, 2)
TOGETHER_SCRIPTS = ("panacea/figure5", "gapo/table_main", "ham/figure3")
"""Several processes sum in another order, so that each of these needs an undisturbed start of its own."""
MOMENTS = STARTING, RUNNING, LAST = ("starting", "running", "writing")
"""Before any work, at a run, and when the results are written."""
OVER = "over"
BY_ALL = ("base", "reference", "reward_model")
"""Runs that scripts have in common; what one has trained is there for the next."""
OWN_TO_A_START = ("task.json", "timings.csv", "run.yaml", "hparams.yaml")
"""Files that hold clocks, peaks of memory, or the folder's place."""
TIMEOUT = 900


@dataclass(frozen=True)
class Setting:
    """A script as it is started."""

    script: str
    """<paper>/<name>"""
    workers: int
    processes: int
    words: tuple[str, ...] = ()

    @property
    def alone(self) -> Setting:
        """As it is undisturbed: workers change no byte."""
        return Setting(self.script, 1, self.processes, self.words)

    @property
    def name(self) -> str:
        return f"{self.script.replace('/', '-')}-{self.processes}"

    def start(self, root: Path, checkpoint_every: int = 0) -> Started:
        root.mkdir(parents=True, exist_ok=True)
        words = [
            *("scale=smoke", f"workers={self.workers}", "code_in_key=false", *self.words),
            *(f"results_dir={root / 'results'}", f"runs_dir={root / 'runs'}"),
            *([f"hardware.checkpoint_every={checkpoint_every}"] if checkpoint_every else []),
            *([f"hardware.devices={self.processes}"] if self.processes > 1 else []),
        ]
        shown = root / "shown"
        shown.write_text("")
        script = ROOT / "experiments" / f"{self.script}.py"
        launched = by_torchrun(self.processes) if self.processes > 1 else [{}]
        return Started(
            root,
            [
                forked.start(script, words, out=shown, folder=ROOT, environment=each, group=True)
                for each in launched
            ],
        )


@dataclass
class Started:
    """A start that is under way."""

    root: Path
    processes: list[Any]

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def is_over(self) -> bool:
        return all(each.exitcode is not None for each in self.processes)

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self.is_over() and not condition():
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL, whole=True)
                raise TimeoutError(f"{self.root}: nothing came of it in {TIMEOUT} s")
            time.sleep(0.01)

    def send(self, signum: int, whole: bool) -> None:
        """To the whole group, as a terminal or a failing machine does, or to the first process of it."""
        for each in self.processes:
            with suppress(ProcessLookupError):
                (os.killpg if whole else os.kill)(each.pid, signum)

    def codes(self) -> list[int]:
        for each in self.processes:
            each.join(TIMEOUT)
        if not self.is_over():
            self.send(signal.SIGKILL, whole=True)
            raise TimeoutError(f"{self.root}: still at work {TIMEOUT} s after it was to end")
        return [each.exitcode for each in self.processes]

    def at_work(self) -> set[str]:
        return {path.name for path in self.runs.glob(".*-*.*")}

    def finished(self) -> int:
        return len(list(self.runs.glob("[a-z]*/task.json")))

    def shown(self) -> str:
        return (self.root / "shown").read_text()


def content(root: Path) -> dict[str, bytes]:
    """Every file of runs and results that is a function of the settings, by its place; hidden ones too."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("runs", "results")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
        and path.name not in OWN_TO_A_START
        and path.parent.name != STUDIES
        and path.suffix not in (".png", ".pdf", ".md")
    }


def needed_runs(runs: Path, shared: set[str]) -> set[str]:
    """A script's own runs, and those of the shared ones that they need."""
    needed = {each.name for each in runs.iterdir()} - shared - {STUDIES}
    new = set(needed)
    while new:
        records = (json.loads((runs / name / "task.json").read_text()) for name in new)
        new = {name for record in records for name in record["inputs"].values()} - needed
        needed |= new
    return needed


class Bench:
    """The folder of all of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder.resolve(), seed
        self.log = self.folder / "log.jsonl"
        self.folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def note(self, **event: Any) -> None:
        self.events.append(event)
        with self.log.open("a") as file:
            file.write(json.dumps(event) + "\n")

    def kills(self) -> int:
        """That have found something to end."""
        return sum(event["kind"] == "kill" and event["moment"] != OVER for event in self.events)

    def undisturbed(self, setting: Setting) -> Path:
        """The folder of an undisturbed start."""
        root = self.folder / "undisturbed" / setting.alone.name
        if not (root / "done").exists():
            shutil.rmtree(root, ignore_errors=True)
            pool = self.folder / "shared" / str(setting.processes)
            pool.mkdir(parents=True, exist_ok=True)
            shutil.copytree(pool, root / "runs")
            started = setting.alone.start(root)
            if set(started.codes()) != {0}:
                raise RuntimeError(f"{setting.script} fails undisturbed:\n{started.shown()}")
            needed = needed_runs(root / "runs", {each.name for each in pool.iterdir()})
            for run in (root / "runs").iterdir():
                if run.name not in needed:
                    shutil.rmtree(run)
                elif run.name.partition("-")[0] in BY_ALL and not (pool / run.name).exists():
                    shutil.copytree(run, pool / run.name)
            (root / "done").write_text("")
        return root

    def case(self, number: int, settings: Sequence[Setting]) -> None:
        """Draw one, kill it some times, let it finish, and compare."""
        rng = random.Random(f"{self.seed}/{number}")
        setting = rng.choice(settings)
        model = self.undisturbed(setting)
        root = self.folder / "case"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(model / "runs", root / "runs")
        mine = sorted(each.name for each in (root / "runs").iterdir())
        taken = rng.sample(mine, min(len(mine), rng.randint(5, 16)))
        for name in taken:
            shutil.rmtree(root / "runs" / name)
        about = {"case": number, "script": setting.script, "workers": setting.workers}
        about |= {"processes": setting.processes}
        # The results are written when all runs are there, and then there is nothing more to be caught at.
        times = rng.randint(*KILLS[setting.workers * setting.processes])
        for moment in sorted(rng.choices(MOMENTS, (1, 8, 1), k=times), key=LAST.__eq__):
            if moment != RUNNING or Started(root, []).finished() < len(mine):
                self.kill(setting, root, rng, len(mine), moment, about)
        last = setting.start(root)
        codes = last.codes()
        expected, found = content(model), content(root)
        wrong = [name for name in {*expected, *found} if expected.get(name) != found.get(name)]
        if set(codes) != {0}:
            wrong.append(f"the last start ended with {codes}: {last.shown()[-2000:]}")
        wrong += [path.name for path in (root / "runs").glob("partial-*")]
        self.note(kind="case", **about, retrained=len(taken), files=len(expected), wrong=sorted(wrong))
        if wrong:
            shutil.copytree(root, self.folder / f"wrong-{number}", dirs_exist_ok=True)

    def kill(
        self, setting: Setting, root: Path, rng: random.Random, runs: int, moment: str, about: dict[str, Any]
    ) -> None:
        """Start, and end it at a random moment of one of the kinds."""
        # Other processes of a run that loses one are ended by whoever has started them.
        signum, whole = rng.choice(SIGNALS), rng.random() < 0.5 or setting.processes > 1
        share, later, every = rng.random(), rng.choice((0, 0, 1, 2)), rng.choice((0, 1, 2))
        left = Started(root, []).at_work()
        started = setting.start(root, every)
        begun, there = time.monotonic(), started.finished()
        if moment == STARTING:
            time.sleep(2 * share)
        elif moment == RUNNING:
            started.until(lambda: started.at_work() - left)
            started.until(lambda: started.finished() >= min(there + later, runs))
            time.sleep(share)
        else:
            started.until(lambda: started.finished() >= runs)
            time.sleep(2 * share)
        over = started.is_over()
        started.send(signum, whole)
        codes = started.codes()
        self.note(
            kind="kill",
            **about,
            signal=signal.Signals(signum).name,
            group=whole,
            moment=OVER if over else moment,
            seconds=round(time.monotonic() - begun, 2),
            codes=codes,
            finished=started.finished(),
            wrong=[] if over else self.not_as_promised(codes, signum, started.shown()),
        )

    def not_as_promised(self, codes: Sequence[int], signum: int, shown: str) -> list[str]:
        """What is wrong with how a start ended: its code is 128 + the signal, the signal itself where Python had not
        come to the script yet (or for SIGKILL), or 0 where it was done at that moment."""
        allowed = {-signum, 0} | ({128 + signum} if signum != signal.SIGKILL else set())
        before_the_script = signum == signal.SIGINT and "KeyboardInterrupt" in shown
        if before_the_script and "/study/script.py" not in shown:
            return []
        said = [f"exit code {code}" for code in codes if code not in allowed]
        return [*said, shown[-4000:]] if said or "Traceback" in shown else []

    def rows(self) -> list[dict[str, Any]]:
        """A row for each script and way."""
        found: dict[tuple[Any, ...], Counter[str]] = {}
        for event in self.events:
            row = found.setdefault((event["script"], event["workers"], event["processes"]), Counter())
            if event["kind"] == "case":
                row.update(
                    starts_finished=1, runs_retrained=event["retrained"], files_compared=event["files"]
                )
                row["files_that_differ"] += len(event["wrong"])
            elif event["moment"] != OVER:
                row.update({event["signal"]: 1, "kills": 1, event["moment"]: 1})
                row["not_as_promised"] += bool(event["wrong"])
        names = ("kills", "SIGKILL", "SIGTERM", "SIGINT", "SIGUSR1", "starting", "running", "writing")
        ends = ("not_as_promised", "starts_finished", "runs_retrained", "files_compared", "files_that_differ")
        return [
            {"script": script, "workers": workers, "processes": processes}
            | {name: row[name] for name in (*names, *ends)}
            for (script, workers, processes), row in sorted(found.items())
        ]


def scripts() -> list[str]:
    """All of experiments/ that train something, each as `<paper>/<name>`."""
    places = sorted((ROOT / "experiments").glob("*/*.py"))
    return [f"{place.parent.name}/{place.stem}" for place in places if study_of(place).methods]


def settings_of(names: Sequence[str]) -> Iterator[Setting]:
    """Each script in each way, as often as it is to be drawn."""
    for name in names:
        for workers, processes in [*WAYS, *((TOGETHER,) * 2 if name in TOGETHER_SCRIPTS else ())]:
            yield Setting(name, workers, processes)


def main(
    keep: Path, settings: Sequence[Setting], kills: int, minutes: float, seed: int, folder: Path
) -> pd.DataFrame:
    """Go on until there were so many kills, or the time is over."""
    deadline = time.monotonic() + 60 * minutes
    bench = Bench(keep, seed)
    number = 1 + max((event["case"] for event in bench.events), default=-1)
    while bench.kills() < kills and time.monotonic() < deadline:
        bench.case(number, settings)
        number += 1
        print(f"{bench.kills()} kills in {number} cases", file=sys.stderr)
    return report("kills", bench.rows(), folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keep", type=Path, help="folder for undisturbed runs and the log")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scripts", nargs="+", default=scripts(), help="<paper>/<name>")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    given = parser.parse_args()
    ways = list(settings_of(given.scripts))
    table = main(given.keep, ways, given.kills, given.minutes, given.seed, given.folder)
    sys.exit(int(table[["not_as_promised", "files_that_differ"]].to_numpy().any()))
