"""Writing a site: what it may replace, what is told, and what it needs."""

from __future__ import annotations

import gzip
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lightning_moa.cli import main
from lightning_moa.errors import UserError
from lightning_moa.pages.found import SITE
from lightning_moa.pages.pictures import write_picture
from lightning_moa.pages.site import LARGE, _json, write_site
from lightning_moa.reporting.claims import claims_frame, judge
from lightning_moa.reporting.schema import CLAIMS
from lightning_moa.run_folders import owner


@pytest.fixture(autouse=True)
def plotly():
    pytest.importorskip("plotly", reason="the extra `report` is not installed")


def test_a_broken_result_is_named_on_its_page_on_the_index_and_by_the_command(theirs, tmp_path, capsys):
    (theirs / "points.csv").write_text("paper\n")
    (theirs / "figure4.png").write_bytes(b"")
    half = tmp_path / "theirs" / "ham" / "figure3" / "tiny"
    half.mkdir(parents=True)
    (half / "run.yaml").write_text("config: {")
    assert main(["report", str(tmp_path / "theirs"), "--to", str(tmp_path / "site")]) == 0
    told = capsys.readouterr()
    assert "2 results" in told.out
    warnings = told.err.splitlines()
    assert len(warnings) == 3
    assert all(line.startswith("warning: ") for line in warnings)
    page = (tmp_path / "site" / "result-panacea-figure4-tiny.html").read_text()
    problems = re.search(r'<section id="problems".*?</section>', page, re.S)
    assert problems is not None
    assert "figure4.png: not a PNG" in problems.group()
    assert "points.csv: missing column" in problems.group() or "points.csv: no column" in problems.group()
    assert 'id="claims"' in page
    index = (tmp_path / "site" / "index.html").read_text()
    assert 'result-panacea-figure4-tiny.html#problems">panacea / figure4 / tiny</a>: 2 faults' in index
    assert 'result-ham-figure3-tiny.html#problems">ham / figure3 / tiny</a>: 1 fault<' in index


def test_a_claim_shows_its_margin_and_what_its_noise_rules_out(theirs, tmp_path):
    file = theirs / "claims.csv"
    rows = [
        judge("alike", "here", "difference", {0: 0.01, 1: -0.01, 2: 0.0}, ">", 0, margin=0.05),
        judge("unknown", "here", "difference", {0: 0.25, 1: -0.25, 2: 0.0}, ">", 0),
    ]
    CLAIMS.write(claims_frame(rows), file)
    assert main(["report", str(tmp_path / "theirs"), "--to", str(tmp_path / "site")]) == 0
    page = (tmp_path / "site" / "result-panacea-figure4-tiny.html").read_text()
    said = dict(re.findall(r'<span class="badge (\S+)">.*?<strong>(.*?)</strong>', page))
    assert said == {"level": "alike", "within-noise": "unknown"}
    assert "bound 0 ± 0.05" in page
    assert page.count('data-margin="0.05"') == 1
    assert re.findall(r"rules out more than \S+ above and \S+ below the bound", page) == [
        "rules out more than 0.63 above and 0.63 below the bound"
    ]
    assert '<li class="badge level">1 level' in (tmp_path / "site" / "index.html").read_text()


ODD = (
    "commit: {id: 5, dirty: maybe}\nhardware: [1]\npackages: text\npolicies: 3\nconfig: 7\ndata: [1, {2: 3}]\n",
    'started: "\\ud800"\nduration_seconds: .nan\ncommit: 5\n',
    "a: &a [*a]\n",
    "[]\n",
    "2: 3\n? [1, 2]\n: 4\n",
)


def test_records_of_any_form_stop_nothing(theirs, tmp_path):
    for number, text in enumerate(ODD):
        folder = tmp_path / "theirs" / "panacea" / f"odd{number}" / "tiny"
        shutil.copytree(theirs, folder)
        (folder / "run.yaml").write_text(text)
    written = write_site([tmp_path / "theirs"], tmp_path / "site")
    assert written.results == 1 + len(ODD)
    assert any("odd2" in problem for problem in written.problems)
    for number in range(len(ODD)):
        page = (tmp_path / "site" / f"result-panacea-odd{number}-tiny.html").read_text()
        assert "Panacea beats DPS" in page
    said = (tmp_path / "site" / "compare" / "panacea-figure4-tiny.js").read_text()
    assert said.count('"title"') == len(ODD)


def test_a_site_is_replaced_and_nothing_else_is(theirs, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    assert write_site([theirs], site).results == 1
    (site / "old.html").write_text("")
    # What a process left that was killed: it had the number of this one.
    (tmp_path / f".site.{owner().rpartition('_')[0]}_1").mkdir()
    write_site([theirs], site)
    assert not (site / "old.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "theirs"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="mine: holds something else; allowed is a new or empty folder"):
        write_site([theirs], mine)
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]


def test_a_start_that_fails_leaves_the_old_site(theirs, tmp_path, monkeypatch):
    write_site([theirs], tmp_path / "site")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightning_moa.pages.site._Site._compare", full)
    with pytest.raises(
        UserError, match="site: can't be written, No space left on device; nothing was changed"
    ):
        write_site([theirs], tmp_path / "site")
    assert (tmp_path / "site" / "compare.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "theirs"]


def test_files_to_download_are_the_files(theirs, tmp_path):
    write_site([theirs], tmp_path / "site")
    page = (tmp_path / "site" / "result-panacea-figure4-tiny.html").read_text()
    links = re.findall(r'<a href="(files/[^"]+)" download>([^<]+)</a>', page)
    files = {file.name: file for file in theirs.iterdir() if file.suffix != ".png"}
    large = {name for name, file in files.items() if file.suffix == ".csv" and file.stat().st_size > LARGE}
    assert large
    assert large < set(files)
    packed = {f"{name}.gz": name for name in large}
    assert {name for _, name in links} == {"figure4.webp", *packed, *(set(files) - large)}
    for url, name in links:
        if name != "figure4.webp":
            content = (tmp_path / "site" / url).read_bytes()
            theirs_too = files[packed.get(name, name)].read_bytes()
            assert (gzip.decompress(content) if name in packed else content) == theirs_too
    (picture,) = (tmp_path / "site").glob("files/*/figure4.webp")
    with Image.open(picture) as shown, Image.open(theirs / "figure4.png") as drawn:
        apart = np.abs(np.asarray(shown.convert("RGB"), int) - np.asarray(drawn.convert("RGB"), int))
    assert apart.max() <= 2
    assert picture.stat().st_size < 0.5 * (theirs / "figure4.png").stat().st_size


def test_a_large_table_is_packed_and_the_same(theirs, tmp_path):
    table = pd.DataFrame({"number": np.random.default_rng(0).normal(size=8000)})
    table.to_csv(theirs / "large.csv", index=False)
    assert (theirs / "large.csv").stat().st_size > LARGE
    written = [write_site([theirs], tmp_path / name) for name in ("site", "again")]
    assert written[0].bytes == written[1].bytes
    page = (tmp_path / "site" / "result-panacea-figure4-tiny.html").read_text()
    (url,) = re.findall(r'<a href="(files/[^"]+)" download>large.csv.gz</a>', page)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "site" / url), pd.read_csv(theirs / "large.csv"))
    assert (tmp_path / "site" / url).read_bytes() == (tmp_path / "again" / url).read_bytes()
    assert (tmp_path / "site" / url).stat().st_size < 0.6 * (theirs / "large.csv").stat().st_size


def test_a_picture_that_can_be_seen_through_is_on_white(tmp_path):
    Image.new("RGBA", (2000, 500), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    write_picture(tmp_path / "clear.png", tmp_path / "clear.webp", tmp_path / "small.webp")
    with Image.open(tmp_path / "clear.webp") as shown, Image.open(tmp_path / "small.webp") as small:
        assert shown.convert("RGB").getextrema() == ((255, 255),) * 3
        assert (shown.size, small.size) == ((2000, 500), (640, 160))


def test_all_that_pages_link_to_is_there(theirs, tmp_path):
    site = tmp_path / "site"
    write_site([theirs], site)
    for page in site.glob("*.html"):
        text = page.read_text()
        ids = set(re.findall(r'\bid="([^"]+)"', text))
        for url in re.findall(r'(?:href|src)="([^"]+)"', text):
            if url.startswith("data:"):
                continue
            name, _, place = url.partition("#")
            assert (site / name).is_file() if name else place in ids, (page.name, url)
    words = json.loads((site / "assets" / "words.js").read_text().removeprefix("moa.words = ").rstrip(";\n"))
    assert {"result", "settings", "claim", "method"} == {each["kind"] for each in words}
    assert all((site / each["page"].partition("#")[0]).is_file() for each in words)
    assert json.loads((site / SITE).read_text())["results"] == 1


def test_json_in_a_script_ends_no_script():
    value = {"</script>": "<!--\u2028&é"}
    text = _json(value)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


def test_bad_folders_are_one_line(theirs, tmp_path, capsys):
    assert main(["report", str(theirs), "--to", str(tmp_path / "site"), "--runs", str(tmp_path / "no")]) == 2
    assert "--runs" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "no"), "--to", str(tmp_path / "site")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
