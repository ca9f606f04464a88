"""What is read of a result; what can't be read is named and stops nothing."""

from __future__ import annotations

import shlex

import pandas as pd
import pytest
import yaml

from lightning_moa.pages.content import command_of, read_content
from lightning_moa.pages.found import find_results
from lightning_moa.pages.measures import HEADER, measures_of
from lightning_moa.pages.reading import read_cells, shortened, shown
from lightning_moa.reporting.catalogue import ARTEFACTS
from lightning_moa.study.artefacts import study_of
from lightning_moa.turns import joined
from tests.pages.conftest import REPOSITORY


def content_of(folder, runs=None):
    (found,) = find_results([folder])
    return read_content(found, runs)


def test_a_whole_result_has_no_problems(theirs):
    content = content_of(theirs)
    assert content.problems == []
    assert content.artefact is not None
    assert content.command == "python experiments/panacea/figure4.py scale=tiny seeds=[0,1,2]"
    assert content.methods["rewarded_soups"] == "Rewarded Soups"
    (panel,) = content.panels
    assert yaml.safe_load(panel.config)["ppo"]["kl_coeff"] == 0.3
    rows = [dict(zip(HEADER, cells, strict=True)) for name, cells in measures_of(panel) if name == "dps"]
    (row,) = [row for row in rows if row["space"] == "gold"]
    assert row["method"] == "DPS"
    metrics = pd.read_csv(theirs / "metrics.csv").query("method == 'dps' and space == 'gold'")
    assert row["hypervolume"].startswith(f"{metrics['hypervolume'].mean():.4g} [")
    assert row["regret"].startswith(f"{metrics['mean_regret'].mean():.4g} [")
    assert row["regret"].endswith("] (beta 0.3, 11 preferences)")
    assert row["policies"] == "33"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("points.csv", "paper,artefact\npanacea", "points.csv: row 1 has 1 cells, the header 2"),
        ("points.csv", "", "points.csv: empty; allowed is a header and rows"),
        ("claims.csv", b"\xff\xfe\x00", "claims.csv: not UTF-8 text"),
        ("run.yaml", "a: [", "run.yaml: not YAML"),
        ("run.yaml", "started: 2026-99-99", "run.yaml: ValueError: month must be in 1..12"),
        (
            "exact_front.csv",
            "lambda_helpful\nx\n",
            "exact_front.csv: not a table of numbers (could not convert",
        ),
        ("timings.csv", 'method\n"unclosed', "timings.csv: not a CSV file"),
        ("figure4.png", b"<svg onload=alert(1)>", "figure4.png: not a PNG"),
        ("figure4.png", None, "figure4.png: a PNG that was cut off"),
    ],
)
def test_a_broken_file_is_named_and_the_rest_is_there(theirs, name, content, said):
    file = theirs / name
    if content is None:
        content = file.read_bytes()[:-5000]
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = content_of(theirs)
    (problem,) = found.problems
    assert problem.startswith(said)
    assert str(theirs) not in problem
    (panel,) = found.panels
    assert (found.claims is None) == (name == "claims.csv")
    assert (panel.front is None) == (name == "points.csv")
    assert (not panel.record) == (name == "run.yaml")
    assert (not panel.pictures) == (name == "figure4.png")
    assert (panel.timings is None) == (name == "timings.csv")


def test_a_few_lines_of_yaml_do_not_become_a_million_values(theirs):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (theirs / "run.yaml").write_text("\n".join(lines))
    (problem,) = content_of(theirs).problems
    assert problem == "run.yaml: more than 200000 values"


def test_a_command_makes_the_artefact_and_quotes_what_is_odd():
    by_name = {each.name: each for each in ARTEFACTS}
    scaled = command_of(
        by_name["figure_scale_objective"], "tiny", {"config": {"multiplies": "objective", "seeds": [0]}}
    )
    assert scaled == "python experiments/gapo/figure_scale.py scale=tiny multiplies=objective seeds=[0]"
    assert command_of(by_name["theory"], "x; rm -rf /", {}).endswith(" 'scale=x; rm -rf /'")
    assert command_of(by_name["figure4"], "tiny", {"config": "text"}).endswith("scale=tiny")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("panacea/figure5/laptop-helpsteer2", "scale=laptop data=helpsteer2 seeds=[0,1,2]"),
        (
            "panacea/figure5/laptop-helpsteer2-panacea_ls",
            "scale=laptop data=helpsteer2 methods=[panacea_ls] seeds=[0]",
        ),
        ("ham/figure3/laptop-helpsteer2-a", "scale=laptop data=helpsteer2 panels=[a] seeds=[0]"),
        ("ham/figure8/laptop-helpsteer2-a+c", "scale=laptop data=helpsteer2 panels=[a,c] seeds=[0]"),
        ("ham/tables/laptop-helpsteer2", "scale=laptop data=helpsteer2"),
        ("panacea/figure5/tiny", "scale=tiny seeds=[0,1,2,3,4,5,6,7,8,9]"),
    ],
)
def test_a_command_asks_for_what_the_folder_is_named_after(place, words):
    """Its scale alone is none that a script has; and its script reads what it says."""
    command = content_of(REPOSITORY / "results" / place).command
    _, script, *rest = shlex.split(command)
    assert " ".join(rest) == words
    config, _ = study_of(REPOSITORY / script).read(rest)
    assert config.scale == words.split()[0].partition("=")[2]


def test_a_command_asks_for_large_scales_data():
    figure5 = next(each for each in ARTEFACTS if (each.paper, each.name) == ("panacea", "figure5"))
    record = {"config": {"scale": "gpu", "data": {"name": "my:Pairs"}}}
    assert command_of(figure5, "gpu", record).endswith("scale=gpu data=my:Pairs")
    record = {"config": {"scale": "tiny", "data": {"name": "my:Pairs"}}}
    assert command_of(figure5, "tiny-my.Pairs-dps+a", record).endswith(
        "scale=tiny data=my:Pairs methods=[dps,a]"
    )


def test_tables_are_cut_and_their_numbers_shortened(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "0.123456789,text\n" * 300)
    cells = read_cells(tmp_path / "t.csv")
    assert (cells.count, len(cells.rows), cells.rows[0]) == (300, 100, ["0.1235", "text"])
    assert [shortened(each) for each in ("1234567890", "-0.5", "1e400", "nan")] == [
        "1234567890",
        "-0.5",
        "1e400",
        "nan",
    ]


def test_responses_are_those_of_tables_and_of_the_runs(theirs, tmp_path):
    (theirs / "answers.csv").write_text("prompt,response\nexplain boats,sure\n")
    record = yaml.safe_load((theirs / "run.yaml").read_text())
    (first, *_) = record["policies"]
    folder = tmp_path / "runs" / first["measurement"]
    folder.mkdir(parents=True)
    header = "prompt_index,prompt,response,tokens,lambda_helpful,policy,step"
    rows = [f"{i},p{i},r{i},2,0.5,steered,{step}" for i in range(5) for step in (1, 150)]
    rows.append("5,p1,again,2,0.5,steered,150")
    (folder / "responses.csv").write_text("\n".join([header, *rows]))
    # What a record says of other places is not followed.
    record["policies"].append({"method": "other", "seed": 0, "measurement": "../theirs"})
    (theirs / "run.yaml").write_text(yaml.safe_dump(record))
    assert [each.name for each in content_of(theirs).panels[0].responses] == ["answers.csv"]
    content = content_of(theirs, tmp_path / "runs")
    (problem,) = content.problems
    assert problem == "responses of other, seed 0: --runs: '../theirs' is no name of a run in it"
    own, measured = content.panels[0].responses
    assert content.panels[0].measured == 1
    assert own.name == "answers.csv"
    assert measured.name == "panacea, seed 0"
    assert measured.header == ["prompt", "policy", "lambda_helpful", "response", "tokens"]
    assert measured.rows == [[f"p{i}", "steered", "0.5", f"r{i}", "2"] for i in range(3)]
    (folder / "responses.csv").write_text("\n".join([header, f"{rows[0]},more", *rows[1:]]))
    (said, _) = content_of(theirs, tmp_path / "runs").problems
    assert said.endswith("seed 0: row 1 has more cells than the header")


def test_what_was_said_is_no_number_and_long_fractions_are_cut(theirs):
    (theirs / "answers.csv").write_text("prompt,response,score\n2024_01_01,3.14159265,3.14159265\n")
    (table,) = content_of(theirs).panels[0].responses
    assert table.rows == [["2024_01_01", "3.14159265", "3.142"]]
    talk = joined([("user", "a"), ("assistant", "b"), ("user", "c")])
    assert shown("prompt", talk) == "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    assert [shortened(each) for each in ("12345678", "1_000_000", "-1.23456e-10")] == [
        *("12345678", "1_000_000", "-1.235e-10")
    ]


def test_every_committed_result_has_a_command_where_a_script_makes_it():
    for result in find_results([REPOSITORY / "results" / "gapo", REPOSITORY / "results" / "ham"]):
        artefact = next(
            each for each in ARTEFACTS if (each.paper, each.name) == (result.paper, result.artefact)
        )
        script = command_of(artefact, result.scale, {}).split()[1]
        assert (REPOSITORY / script).is_file()


def test_a_table_says_only_what_its_page_does_not(theirs):
    """`paper` and `artefact` are the page's in every row, and `scale` is another's in one: it stays."""
    rows = ["paper,artefact,scale,value", "panacea,figure4,tiny,1", "panacea,figure4,smoke,2"]
    (theirs / "more.csv").write_text("\n".join(rows) + "\n")
    (panel,) = content_of(theirs).panels
    (table,) = [each for each in panel.tables if each.name == "more.csv"]
    assert table.header == ["scale", "value"]
    assert table.rows == [["tiny", "1"], ["smoke", "2"]]
