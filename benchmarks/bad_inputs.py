"""Bad inputs, by a generator: is each refused in a line, and is what was there before left as it was?

    python -m benchmarks.bad_inputs [--share 0.1] [--seed 0] [--scripts panacea/figure5 ...]

Every key of every script of experiments/ with a wrong type, range, path or unit; files of preferences in every form,
torn, mixed, reversed and in another encoding; the files of results and runs, torn. Each goes to the script or to the
command `moa`, in this process; where a training would begin, the input counts as accepted. Refused is exit code 2, with
one to three lines on stderr and no traceback, and the results and runs beside it with not a byte changed.

Prints a table and writes results/benchmarks/bad_inputs.csv; names each input that was not refused so; exit code 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from unittest import mock

import pandas as pd

from benchmarks import spoiled
from benchmarks.kills import ROOT, scripts
from benchmarks.measuring import RESULTS, report
from lightning_moa.cli import main as moa
from lightning_moa.data.configs import CONFIGS
from lightning_moa.inference.found import chosen
from lightning_moa.reporting.under_way import STUDIES
from lightning_moa.study.artefacts import _module
from lightning_moa.study.script import script
from lightning_moa.task_files import DONE

DATA_SCRIPT = "panacea/figure5"
"""The script that reads files of preferences."""
SOUND = "nothing"
STUDY = [
    "scale=smoke",
    "workers=1",
    "code_in_key=false",
    "evaluation.grid_step=1",
    "dpo.steps=2",
    "sft.steps=8",
]
STUDY += ["reward_model.steps=2"]
"""That script with results and runs to be spoiled."""
LINES = 3
METHOD = "panacea_ls"
"""Of that script: whose policies are loaded."""


class Accepted(Exception):
    """A training would begin."""


@dataclass(frozen=True)
class Case:
    """A bad input."""

    to: str
    """A script, or a command."""
    wrong: str
    """What is wrong with it."""
    said: str
    """The input, in words."""
    start: Callable[[], object]
    before: Callable[[], None] = lambda: None
    """Puts it where it is read."""
    finished: bool = False
    """Whether all of the script's runs are there, so that it may begin."""
    sound: bool = False
    """Whether it is a good one, without which refusals would say nothing."""


@lru_cache
def loaded(name: str):
    return _module(ROOT / "experiments" / f"{name}.py")


def run_script(name: str, words: Sequence[str]) -> None:
    """Ends with SystemExit, unless it is done."""
    module = loaded(name)
    with mock.patch.object(sys, "argv", [f"{name}.py", *words]), contextlib.redirect_stdout(io.StringIO()):
        try:
            script(module.STUDY, module.main)
        except SystemExit as ended:
            if ended.code:
                raise


def outcome(case: Case, kept: Path) -> str:
    """What became of it; empty where it was refused as it should be, or done, if it is sound."""
    case.before()
    before, out = snapshot(kept), io.StringIO()
    try:
        with contextlib.redirect_stderr(out), contextlib.redirect_stdout(io.StringIO()):
            code = case.start()
    except SystemExit as ended:
        code = ended.code
    except Accepted:
        return "" if case.sound else "accepted"
    except BaseException:
        return f"traceback: {traceback.format_exc(limit=-3)}"
    lines = [line for line in out.getvalue().splitlines() if line.strip()]
    if case.sound:
        return "" if code in (0, None) else f"sound, but exit code {code}: {' / '.join(lines)}"
    if snapshot(kept) != before:
        return "changed what was there"
    if code != 2 or "Traceback" in out.getvalue():
        return f"exit code {code}: {' / '.join(lines)}"
    return "" if 1 <= len(lines) <= LINES else f"{len(lines)} lines: {' / '.join(lines)}"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def setting_cases(names: Iterable[str], folder: Path) -> Iterator[Case]:
    """Of every key of every script, and of every data set."""
    # Not beside the results that are there: of another configuration, those would be refused first.
    places = [f"results_dir={folder / 'others'}", f"runs_dir={folder / 'runs'}", "scale=smoke"]

    def case(name: str, words: Sequence[str], wrong: str) -> Case:
        return Case(name, wrong, words[-1], partial(run_script, name, [*places, *words]))

    for name in names:
        yield Case(name, SOUND, "", partial(run_script, name, places), sound=True)
        for key, value, wrong in spoiled.settings(loaded(name).STUDY.schema):
            if not key.startswith("data."):
                yield case(name, [f"{key}={value}"], wrong)
        yield case(name, ["scale=enormous"], "range")
        yield case(name, ["methods=[none such]"], "unknown key")
    for data, options in CONFIGS.items():
        for key, value, wrong in spoiled.settings(options, "data."):
            yield case(DATA_SCRIPT, [f"data={data}", f"{key}={value}"], wrong)


def data_cases(folder: Path, rng: random.Random) -> Iterator[Case]:
    """Of files of preferences."""
    sound = [(name, content, SOUND) for name, content in spoiled.sound_files()]
    for number, (name, content, wrong) in enumerate([*sound, *spoiled.data_files(rng)]):
        path = folder / "data" / str(number) / name
        words = ["scale=smoke", "data=pairs", f"data.path={path}", "data.labels.a=a", "data.labels.b=b"]
        words += [f"results_dir={folder / 'results'}", f"runs_dir={folder / 'runs'}"]
        yield Case(
            DATA_SCRIPT,
            wrong if wrong is SOUND else f"data {wrong}",
            name,
            partial(run_script, DATA_SCRIPT, words),
            partial(put, path, content),
            sound=wrong is SOUND,
        )


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@dataclass(frozen=True)
class Copy:
    """Of the results and runs of a study that was made, to be spoiled."""

    made: Path
    folder: Path

    @property
    def results(self) -> Path:
        (found,) = self.made.glob("results/*/*/smoke")
        return found

    def commands(self) -> dict[str, list[str]]:
        """Of `moa`, by their names, as they go well."""
        study = str(self.folder / self.results.relative_to(self.made))
        named = [study, "--runs", str(self.folder / "runs")]
        asked = ["--method", METHOD, "--preference", "helpful=.5,harmless=.5", "--prompt", "a"]
        return {
            "compare": ["compare", study],
            "policies": ["policies", *named],
            "generate": ["generate", *named, *asked, "--max-new-tokens", "1"],
        }

    def cases(self, file: Path, content: bytes, wrong: str, readers: Iterable[str]) -> Iterator[Case]:
        """A file of it with another content, as each command, or the script, reads it."""
        said, sound = str(file.relative_to(self.made)), wrong is SOUND
        words = [*STUDY, f"results_dir={self.folder / 'results'}", f"runs_dir={self.folder / 'runs'}"]

        def before() -> None:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.copytree(self.made, self.folder)
            put(self.folder / said, content)

        for reader in readers:
            if reader == DATA_SCRIPT:
                start = partial(run_script, DATA_SCRIPT, words)
                yield Case(reader, wrong, said, start, before, finished=True, sound=sound)
            else:
                start = partial(moa, self.commands()[reader])
                yield Case(f"moa {reader}", wrong, said, start, before, sound=sound)


def file_cases(copy: Copy, rng: random.Random) -> Iterator[Case]:
    """Of each file that a study has left: results' by those that read them, runs' by the script that goes on from them,
    and by what loads a policy."""
    record = copy.results / "run.yaml"
    yield from copy.cases(record, record.read_bytes(), SOUND, [*copy.commands(), DATA_SCRIPT])
    for name in ("points.csv", "accuracies.csv", "metrics.csv"):
        for content, wrong in spoiled.torn_tables((copy.results / name).read_bytes(), rng):
            yield from copy.cases(copy.results / name, content, f"results {wrong}", ["compare"])
    for content, wrong in spoiled.torn_records(record.read_bytes(), rng):
        yield from copy.cases(record, content, f"results {wrong}", [*copy.commands(), DATA_SCRIPT])
    method = chosen(copy.results, METHOD, runs=copy.made / "runs")
    loaded = {method.measurement, *method.measured()["inputs"].values()}
    for file in sorted((copy.made / "runs").rglob("*")):
        # What a start tells of itself is read by nothing that could be wrong for it, and written anew by the next.
        if file.is_file() and not {"log", STUDIES} & set(file.parts):
            # Whatever is wrong with a file is told by the same check, but of records.
            ways = list(spoiled.torn_records(file.read_bytes(), rng))
            readers = [DATA_SCRIPT, *(["generate"] if file.relative_to(copy.made).parts[1] in loaded else [])]
            for content, wrong in ways if file.name == DONE else rng.sample(ways, 2):
                yield from copy.cases(file, content, f"runs {wrong}", readers)


def try_all(cases: Iterable[Case], kept: Path, minutes: float = float("inf")) -> pd.DataFrame:
    """A row for each case that there is time for: to, wrong, said, outcome."""
    until = time.monotonic() + 60 * minutes
    execute, rows = importlib.import_module("lightning_moa.study.execute"), []
    for case in cases:
        if time.monotonic() > until:
            break
        begins = (
            contextlib.nullcontext()
            if case.finished
            else mock.patch.object(execute, "_Scheduler", side_effect=Accepted)
        )
        with begins:
            rows.append((case.to, case.wrong, case.said, outcome(case, kept)))
    return pd.DataFrame(rows, columns=["to", "wrong", "said", "outcome"])


def counts(tried: pd.DataFrame) -> list[dict[str, object]]:
    """A row for each script or command and kind of mistake."""
    return [
        {
            "to": to,
            "wrong": wrong,
            "tried": len(part),
            "refused": int((part["outcome"] == "").sum()),
            "not_refused": int((part["outcome"] != "").sum()),
        }
        for (to, wrong), part in tried.groupby(["to", "wrong"], sort=True)
    ]


def main(
    share: float, seed: int, names: Sequence[str], folder: Path = RESULTS, minutes: float = float("inf")
) -> pd.DataFrame:
    """All files, and a random share of the settings: a row for each that there was time for."""
    rng = random.Random(seed)
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        made, scratch = Path(name) / "made", Path(name) / "kept"
        run_script(DATA_SCRIPT, [*STUDY, f"results_dir={made / 'results'}", f"runs_dir={made / 'runs'}"])
        shutil.copytree(made, scratch)
        settings = [each for each in setting_cases(names, scratch) if each.sound or rng.random() < share]
        files = [*data_cases(scratch, rng), *file_cases(Copy(made, scratch), rng)]
        # Good ones first, and then in any order, for there may not be time for all.
        cases = sorted([*settings, *files], key=lambda case: (not case.sound, rng.random()))
        tried = try_all(cases, scratch, minutes)
    report("bad_inputs", counts(tried), folder)
    return tried


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the settings, drawn at random")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="after which no further one is tried"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scripts", nargs="+", default=scripts(), help="<paper>/<name>")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    given = parser.parse_args()
    table = main(given.share, given.seed, given.scripts, given.folder, given.minutes)
    failed = table[table["outcome"] != ""]
    for each in failed.itertuples():
        print(f"{each.to}, {each.wrong}, {each.said}: {each.outcome}", file=sys.stderr)
    sys.exit(int(len(failed) > 0))
