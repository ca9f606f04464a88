"""`moa plan` from its words to its exit code."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from lightning_moa.cli import main
from lightning_moa.config.options import HardwareConfig
from lightning_moa.errors import UserError
from lightning_moa.forecast.plan import on_cpus, options_of, split, without_bfloat16
from lightning_moa.reporting.plan_table import plan_table

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
FIGURE4, FIGURE5 = (str(EXPERIMENTS / "panacea" / name) for name in ("figure4.py", "figure5.py"))


def test_words_are_the_plans_or_the_scripts():
    own, rest = split(
        [
            "scale=paper",
            "devices=8",
            "strategy=ddp",
            "gpu=40",
            "utilisation=0.5",
            "gpu_type=a100",
            "rows=7",
            "dpo.lr=1",
        ]
    )
    assert rest == ["scale=paper", "hardware.devices=8", "hardware.strategy=ddp", "dpo.lr=1"]
    options = options_of(own)
    assert (options.gib, options.utilisation, options.gpu_type, options.rows) == (40, 0.5, "a100", 7)
    assert options_of({}).gib == 80
    assert options_of({"gpu_type": "v100"}).gib == 32


@pytest.mark.parametrize("rows", ["0.5", "7.5"])
def test_a_part_of_a_row_is_refused(rows):
    with pytest.raises(UserError, match=rf"rows={rows}: rows, a whole number above 0, are expected"):
        options_of({"rows": rows})


def test_a_list_among_the_settings_stays_in_the_title():
    console = Console(file=io.StringIO(), width=200)
    console.print(plan_table([], 16, 0.2, "figure5.py objectives=[helpful,harmless]: 1 devices"))
    assert "objectives=[helpful,harmless]" in console.file.getvalue()


def test_on_cpus_a_plan_is_one_of_cores_unless_a_gpu_is_named():
    core = options_of({}, "cpu")
    assert (core.gpu_type, core.utilisation, core.gib) == ("cpu_core", 1, 16)
    assert options_of({"utilisation": "0.5"}, "cpu").utilisation == 0.5
    named = options_of({"gpu_type": "a100"}, "cpu")
    assert (named.gpu_type, named.utilisation) == ("a100", 0.35)
    assert on_cpus(core) != on_cpus(named)
    assert "and not of this study's CPUs" in on_cpus(named)[0]


@pytest.mark.parametrize(
    "word", ["gpu=large", "gpu=0", "utilisation=1.5", "utilisation=nan", "gpu_type=abacus", "rows=-1"]
)
def test_bad_words_are_one_line(word):
    with pytest.raises(UserError, match=word.replace(".", r"\.")):
        options_of(split([word])[0])


def test_a_plan_says_that_it_is_an_estimate_and_writes_its_rows(tmp_path, capsys):
    out = tmp_path / "plan.csv"
    assert main(["plan", FIGURE4, "scale=paper", "strategy=deepspeed_2", "--csv", str(out)]) == 0
    printed = capsys.readouterr()
    assert "An estimate, ± 20%" in printed.out
    assert "dps x 11" in printed.out
    assert "989 TFLOP/s" in printed.out
    assert "warning: hardware.strategy=deepspeed_2 saves almost nothing here" in printed.err
    assert "ppo.ptx=16: counted as if ppo.ptx_path were given" in printed.out
    rows = {row["run"]: row for row in csv.DictReader(out.open())}
    assert rows["dps"]["count"] == "11"
    assert float(rows["dps"]["weights_bytes"]) == 2 * 6_738_423_808


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([FIGURE5, "scale=paper", "strategy=deepspeed_3", "precision=int8"], "bitsandbytes issue 1451"),
        ([FIGURE5, "scale=paper", "model.path=someone/unknown"], "architecture is not known offline"),
        ([FIGURE5, "devises=8"], "there is no key 'devises'"),
        ([str(EXPERIMENTS / "panacea" / "tables.py")], "trains nothing"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(words, said, capsys):
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["precision=bf16", "gpu_type=v100"], "on gpu_type=v100: it has no bfloat16"),
        (["precision=int8", "gpu_type=v100"], "what stays out of the quantised layers, which is bfloat16"),
        (["precision=fp32", "gpu_type=v100"], None),
        (["precision=bf16", "gpu_type=a100"], None),
        (["precision=bf16", "gpu_type=v100", "accelerator=cpu"], None),
    ],
)
def test_a_gpu_without_bfloat16_is_named(words, said):
    own, rest = split([*words, "hardware.accelerator=gpu"] if "accelerator=cpu" not in words else words)
    options = options_of(own)
    hardware = asdict(HardwareConfig()) | {
        word.split(".")[1].split("=")[0]: word.split("=")[1] for word in rest
    }
    lines = without_bfloat16(hardware, options)
    assert len(lines) == (said is not None)
    assert all(said in line for line in lines)
