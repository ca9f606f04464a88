"""The comparison of two checkouts' results, on made-up scripts and folders."""

import subprocess
import sys

import pytest

from benchmarks import same_results
from lightning_moa.errors import UserError

SCRIPT = """
import os, pathlib, sys
given = dict(word.split("=") for word in sys.argv[1:])
folder = pathlib.Path(given["results_dir"], "paper", "{name}", given["scale"])
folder.mkdir(parents=True)
(folder / "points.csv").write_text("method,gold\\na,{gold}\\n")
(folder / "timings.csv").write_text(str(os.getpid()))
ran = pathlib.Path(given["runs_dir"], "ran")
ran.parent.mkdir(exist_ok=True)
with ran.open("a") as stream:
    stream.write("{name} " + given["workers"] + os.environ["OMP_NUM_THREADS"] + os.environ["PYTHONPATH"] + "\\n")
"""


def checkout(root, **scripts):
    """A made-up checkout: each script, and the number that it writes; or all that it does."""
    folder = root / "experiments" / "paper"
    folder.mkdir(parents=True)
    for name, does in scripts.items():
        text = does if isinstance(does, str) else SCRIPT.format(name=name, gold=does)
        (folder / f"{name}.py").write_text(text)
    return root


def results(root, text, name="points.csv"):
    """Made-up results of one script."""
    folder = root / "paper" / "figure" / "smoke"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return root


def compared(tmp_path, capsys, one, other):
    code = same_results.main(
        [f"results={results(tmp_path / 'a', one)}", f"other_results={results(tmp_path / 'b', other)}"]
    )
    return code, capsys.readouterr().out.splitlines()


TABLE = "method,gold,kl\na,1.0,0.5\nb,2.0,\n"


def test_equal_results_are_equal_whatever_the_clock_says(tmp_path, capsys):
    results(tmp_path / "a", "1", "timings.csv")
    results(tmp_path / "b", "2", "timings.csv")
    assert compared(tmp_path, capsys, TABLE, TABLE) == (0, ["1 files of 1 scripts, 0 differences"])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (TABLE.replace("1.0", "1.25"), "1 of 2 rows differ, by up to 0.25: gold"),
        (TABLE.replace("1.0", "1.25").replace("b,2", "c,0"), "2 of 2 rows differ, by up to 2: method, gold"),
        (TABLE.replace("\nb", "\nc"), "1 of 2 rows differ: method"),
        (TABLE.replace("2.0,", "2.0,3"), "1 of 2 rows differ: kl"),
        (TABLE.replace("kl", "regret"), "other columns: kl, regret"),
        ("method,kl,gold\na,0.5,1.0\nb,,2.0\n", "other columns: in another order"),
        (TABLE + "c,1,1\n", "2 rows in this, 3 in other"),
        (TABLE.replace("\n", "\r\n"), "the same cells in other bytes"),
        ("", "not both are tables"),
    ],
)
def test_how_a_file_differs_is_said(tmp_path, capsys, other, said):
    code, lines = compared(tmp_path, capsys, TABLE, other)
    assert (code, lines[0]) == (1, f"paper/figure/smoke/points.csv: {said}")
    assert lines[1:] == ["1 files of 1 scripts, 1 differences"]


def test_what_one_side_alone_has_is_named(tmp_path, capsys):
    results(tmp_path / "a", TABLE, "extra.csv")
    results(tmp_path / "b", TABLE, "claims.csv")
    (tmp_path / "b" / "paper" / "new" / "smoke").mkdir(parents=True)
    code, lines = compared(tmp_path, capsys, TABLE, TABLE)
    assert code == 1
    assert lines[:3] == [
        "paper/new: only other has it",
        "paper/figure/smoke/claims.csv: only other has it",
        "paper/figure/smoke/extra.csv: only this has it",
    ]


def test_two_checkouts_are_run_side_by_side(tmp_path, capsys):
    one = checkout(tmp_path / "one", figure=1, tables=5, b=2)
    two = checkout(tmp_path / "two", figure=1, tables=5, b=3)
    kept = tmp_path / "kept"
    assert same_results.main([str(two), f"keep={kept}", "scale=tiny"], one) == 1
    assert capsys.readouterr().out.splitlines() == [
        "paper/b/tiny/points.csv: 1 of 1 rows differ, by up to 1: gold",
        "3 files of 3 scripts, 1 differences",
    ]
    for side, root in (("this", one), ("other", two)):
        ran = [f"{name} 11{root}" for name in ("b", "figure", "tables")]
        assert (kept / side / "runs" / "ran").read_text().splitlines() == ran
    assert same_results.main([str(two), "scripts=paper/figure,paper/tables"], one) == 0
    again = [f"results={kept}/this/results", f"other_results={kept}/this/results"]
    assert same_results.main(again) == 0


def test_a_revision_is_taken_out_of_the_repository(tmp_path, capsys):
    one = checkout(tmp_path / "one", figure=1)
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]
    for words in (["init", "-q"], ["add", "."], commit):
        subprocess.run(["git", *words], cwd=one, check=True)
    assert same_results.main(["HEAD"], one) == 0
    (one / "experiments" / "paper" / "figure.py").write_text(SCRIPT.format(name="figure", gold=2))
    assert same_results.main(["HEAD"], one) == 1
    assert "by up to 1: gold" in capsys.readouterr().out
    with pytest.raises(UserError, match="nowhere: neither a folder nor a revision"):
        same_results.main(["nowhere"], one)


def test_a_script_that_fails_is_a_difference_and_bad_input_ends_it(tmp_path, capsys):
    fails = "import sys; sys.exit('it broke')"
    one, two = checkout(tmp_path / "one", figure=1), checkout(tmp_path / "two", figure=fails)
    assert same_results.main([str(two)], one) == 1
    assert capsys.readouterr().out.splitlines()[0] == "paper/figure: failed in other: it broke"
    bad = "import sys; print('error: scale=x: no', file=sys.stderr); sys.exit(2)"
    with pytest.raises(UserError, match=r"^paper/figure: scale=x: no$"):
        same_results.main([str(checkout(tmp_path / "three", figure=bad))], one)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name one OTHER"),
        (["a", "b"], "name one OTHER"),
        (["a", "other_results=a"], "name one OTHER"),
        (["results=nowhere", "other_results=nowhere"], "nowhere: no such folder"),
        (["results=.", "other_results=.", "scripts=no/script"], "no/script: neither has it"),
        (["keep=.", "other_results=."], "keep=.: must be empty"),
    ],
)
def test_bad_input_is_one_line(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    with pytest.raises(UserError, match=said):
        same_results.main(words)


def test_the_command_ends_with_its_code(tmp_path):
    command = [sys.executable, same_results.__file__]
    done = subprocess.run(
        [*command, "results=nowhere", "other_results=x"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "error: nowhere: no such folder\n")
