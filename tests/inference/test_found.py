"""A study's trained policies, by its run.yaml alone."""

from __future__ import annotations

import shutil

import pytest
import yaml

from lightning_moa.errors import UserError
from lightning_moa.inference.found import chosen, trained_policies

OLD = {"format": 2, "data": {"name": "synthetic"}, "config": {}}


def put(folder, record=None, **policies):
    folder.mkdir(parents=True)
    given = [
        {"method": name, "seed": seed, "deployment": "Nearest", "measurement": f"evaluate-{name}{seed}"}
        | {"trained": [{"run": f"align-{name}{seed}", "preference": {"a": 1.0, "b": 0.0}}]}
        for name, seeds in policies.items()
        for seed in seeds
    ]
    text = yaml.safe_dump(record or {"runs": "../../runs", "policies": given})
    (folder / "run.yaml").write_text(text)
    return folder


def test_policies_are_named_with_their_folders(tmp_path):
    folder = put(tmp_path / "results" / "x", m=(0, 1), n=(0,))
    found = trained_policies(folder)
    assert [(each.method, each.seed) for each in found] == [("m", 0), ("m", 1), ("n", 0)]
    assert found[1].folders == [tmp_path / "runs" / "align-m1" / "policy"]
    assert found[0].policies[0][1] == {"a": 1.0, "b": 0.0}
    assert trained_policies(folder, tmp_path / "other")[0].runs == tmp_path / "other"
    assert (chosen(folder, "m").seed, chosen(folder, "m", 1).seed) == (0, 1)
    with pytest.raises(UserError, match=r"the runs of m, seed 0, are not in .*; --runs says where"):
        found[0].measured()


def test_a_preference_that_is_no_mapping_is_said(tmp_path):
    trained = [{"run": "align-m0", "preference": [0.5, 0.5]}]
    told = {
        "method": "m",
        "seed": 0,
        "deployment": "Nearest",
        "measurement": "evaluate-m0",
        "trained": trained,
    }
    folder = put(tmp_path / "x", {"runs": "runs", "policies": [told]})
    with pytest.raises(UserError, match="its policies are not as a study writes them"):
        trained_policies(folder)


@pytest.mark.parametrize(
    ("method", "seed", "said"),
    [
        (None, None, "several methods, m, n; say which"),
        ("o", None, "no trained method 'o'; there are m, n"),
        ("m", 7, "m has no seed 7; there are 0, 1"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, method, seed, said):
    with pytest.raises(UserError, match=said):
        chosen(put(tmp_path / "x", m=(0, 1), n=(0,)), method, seed)


def test_folders_without_policies(tmp_path):
    put(tmp_path / "old", OLD)
    with pytest.raises(UserError, match=r"old/run.yaml: names no trained policies: .* older results"):
        trained_policies(tmp_path)
    put(tmp_path / "a", m=(0,))
    put(tmp_path / "b", m=(0,))
    assert len(trained_policies(tmp_path)) == 2
    with pytest.raises(UserError, match="m is in several folders"):
        chosen(tmp_path)
    shutil.rmtree(tmp_path / "a")
    assert chosen(tmp_path).results == tmp_path / "b"
    put(tmp_path / "wrong", {"policies": [{"method": "m"}]})
    with pytest.raises(UserError, match=r"wrong/run\.yaml: its policies are not as a study writes them"):
        trained_policies(tmp_path / "wrong")
    (tmp_path / "none").mkdir()
    for path, said in (("none", "no run.yaml"), ("nowhere", "no such folder")):
        with pytest.raises(UserError, match=said):
            trained_policies(tmp_path / path)


@pytest.mark.parametrize("name", ["../../secret", "/etc", ".."])
def test_a_record_s_runs_lie_among_the_runs(tmp_path, name):
    folder = put(tmp_path / "results" / "x", m=(0,))
    text = (folder / "run.yaml").read_text().replace("align-m0", name)
    (folder / "run.yaml").write_text(text)
    with pytest.raises(UserError, match="is no name of a run in it"):
        _ = trained_policies(folder)[0].folders


def test_a_record_behind_a_link_out_of_the_results_is_not_read(tmp_path):
    put(tmp_path / "elsewhere", m=(0,))
    put(tmp_path / "results" / "x", m=(0,))
    (tmp_path / "results" / "y").mkdir()
    (tmp_path / "results" / "y" / "run.yaml").symlink_to(tmp_path / "elsewhere" / "run.yaml")
    with pytest.raises(UserError, match=r"y/run.yaml: a link out of .*results"):
        trained_policies(tmp_path / "results")
