"""The command `moa`, as its user meets it."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lightning_moa.cli import main
from lightning_moa.errors import UserError
from lightning_moa.pareto import preference_grid
from lightning_moa.reporting.console import run_command
from lightning_moa.reporting.schema import POINTS

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, radius in (("panacea", 1.0), ("rewarded_soups", 0.5)):
        weights = preference_grid(2, 0.25)
        values = radius * np.sqrt(weights) - 0.1
        frame = pd.DataFrame(
            {"paper": "panacea", "artefact": "figure4", "scale": "tiny", "method": name, "seed": 0, "step": 9}
            | {"policy": "", "lambda_a": weights[:, 0], "lambda_b": weights[:, 1]}
            | {f"{space}_{o}": values[:, i] for space in ("reward", "gold") for i, o in enumerate("ab")}
            | {"kl": 0.5, "n": 8}
        )
        POINTS.write(frame, tmp_path / name / "points.csv")
    return tmp_path


def test_compare_prints_a_table_and_draws(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = results / "fronts.png"
    assert main(["compare", str(results), "--reference", "-1,-1", "--plot", str(plot)]) == 0
    printed = capsys.readouterr()
    assert "reference point: a -1, b -1" in printed.out
    row = next(line for line in printed.out.splitlines() if line.startswith("│ 1 │"))
    assert "#2" in row
    assert "5.0 of 5.0" in row
    assert (
        "warning: not told by run.yaml, so differences in it are not seen: panacea, rewarded_soups (nothing"
        in printed.err
    )
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["lst"], "invalid choice: 'lst'"),
        (["compare"], "required: results"),
        (["compare", "nowhere"], "nowhere: no such file or folder"),
        (["compare", "{results}", "--reference", "a,b"], "--reference a,b; allowed are numbers"),
        (["compare", "{results}", "--reference", "1"], "one finite number for each of a, b"),
        (["compare", "{results}", "--space", "golden"], "space 'golden'"),
        (["compare", "{results}", "--plot", "x.jpg"], "x.jpg"),
        (["list", "--root", "nowhere"], "nowhere: no folder experiments"),
        (["list", "--rot", "x"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    results: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([argument.format(results=results) for argument in arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]


def test_list_shows_every_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--root", str(REPOSITORY)]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("panacea", "gapo", "ham", "figure_dimensions", "theorem1"))


def test_only_user_errors_lose_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def user_error() -> None:
        raise UserError("wrong")

    def defect() -> None:
        raise RuntimeError("ours")

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert run_command(user_error) == 2
    assert capsys.readouterr().err == "error: wrong\n"

    def of_a_users_code() -> None:
        raise UserError("mine failed (ValueError: first\n  second)")

    assert run_command(of_a_users_code) == 2
    assert capsys.readouterr().err == "error: mine failed (ValueError: first second)\n"
    assert run_command(interrupt) == 130
    assert run_command(lambda: None) == 0
    with pytest.raises(RuntimeError):
        run_command(defect)


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["lst"], 2)])
def test_help_and_mistypes_answer_at_once_without_heavy_packages(arguments: list[str], code: int) -> None:
    program = (
        "import sys; from lightning_moa.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    # A second's answer, with room for a busy machine.
    assert time.monotonic() - start < 5


def test_results_are_read_without_torch() -> None:
    program = (
        "import sys, lightning_moa.pareto, lightning_moa.reporting.compare, lightning_moa.reporting.plots,"
        " lightning_moa.reporting.statistics, lightning_moa.reporting.run_record\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY).returncode == 0


def test_a_reader_that_goes_is_no_error() -> None:
    program = "import sys; from lightning_moa.cli import main; sys.exit(main(['list']))"
    started = subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    said = started.stderr.read()
    assert (started.wait(), said) == (1, b"")
