"""The site in headless Chromium, from the disk. `MOA_SCREENSHOTS=FOLDER pytest tests/pages` keeps its screenshots."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from lightning_moa.pages.site import write_site
from lightning_moa.reporting.compare import compare
from lightning_moa.reporting.compare_formats import cells_of
from lightning_moa.reporting.loaded import load_runs
from lightning_moa.reporting.schema import CLAIMS, POINTS
from lightning_moa.reporting.verdicts import HOLDS

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "results"
FIGURE4 = RESULTS / "panacea" / "figure4" / "tiny"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
HARMLESS = ("GPU stall due to ReadPixels", "willReadFrequently")
"""What Chromium says of plotly's own plots in space where it has no GPU."""
SLOW = 15_000
"""Milliseconds that a page may take on a busy machine."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The site of all committed results, what it came to, and the seconds of a processor that it took."""
    pytest.importorskip("plotly", reason="the extra `report` is not installed")
    folder = tmp_path_factory.mktemp("site") / "site"
    began = time.process_time()
    return folder, write_site([RESULTS], folder), time.process_time() - began


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        # The sandbox asks for what containers do not have; the pages are our own.
        words = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=words)
        yield browser
        browser.close()


class Visit:
    """Pages of a site, with all that they asked for and complained of."""

    def __init__(self, browser, site: Path, **options) -> None:
        self.site = site
        self.context = browser.new_context(**({"viewport": WIDE, "reduced_motion": "reduce"} | options))
        self.page = self.context.new_page()
        self.page.set_default_timeout(SLOW)
        self.faults: list[str] = []
        self.page.on("request", self._asked)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(f"dialog {dialog.message}"))

    def open(self, name: str):
        self.page.goto((self.site / "index.html").as_uri().replace("index.html", name))
        return self.page

    def close(self) -> None:
        self.context.close()
        assert not self.faults, self.faults

    def _asked(self, request) -> None:
        if not request.url.startswith((self.site.as_uri(), "data:", "blob:")):
            self.faults.append(f"asked for {request.url}")

    def _said(self, message) -> None:
        ours = not any(each in message.text for each in HARMLESS)
        if message.type in ("error", "warning") and ours:
            self.faults.append(f"{self.page.url}: {message.text}")


@pytest.fixture
def visit(browser, written):
    """Asks nobody for anything and has no fault on the console; checked when the test has ended."""
    opened = []

    def begin(**options) -> Visit:
        opened.append(Visit(browser, written[0], **options))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


def keep(page, name: str) -> None:
    folder = os.environ.get("MOA_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def drawn(page, plot: str = ".front .plot"):
    """Waits for a plot; its traces' names and kinds."""
    page.wait_for_function("plot => document.querySelector(plot)?.data?.length > 0", arg=plot)
    return page.evaluate(
        "plot => document.querySelector(plot).data.map((each) => [each.name, each.type])", plot
    )


def test_all_committed_results_are_small_and_soon_made(written):
    folder, found, seconds = written
    assert found.problems == []
    assert found.results == len(list(folder.glob("result-*.html"))) >= 30
    assert found.bytes == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 33e6
    assert seconds < 60


def test_pages_of_every_kind_open_from_the_disk(visit):
    pages = visit()
    for name in (
        "index.html",
        "methods.html",
        "method-panacea.html",
        "compare.html",
        "result-panacea-theory-tiny.html",
        "result-ham-tables-tiny.html",
        "result-gapo-figure_scale-tiny.html",
        "result-other-benchmarks.html",
    ):
        page = pages.open(name)
        assert page.locator("h1").count() == 1
        assert page.locator("main").inner_text().strip()
    page = pages.open("index.html")
    assert page.locator(".card").count() == len(list(pages.site.glob("result-*.html")))
    keep(page, "index")
    page.get_by_role("combobox", name="Paper").select_option("ham")
    assert set(page.locator(".card:visible").evaluate_all("all => all.map(x => x.dataset.paper)")) == {"ham"}


def test_the_index_counts_the_verdicts_of_the_claims(visit):
    page = visit().open("index.html")
    claims = CLAIMS.read(FIGURE4 / CLAIMS.file)
    held = int(((claims["verdict"] == HOLDS) & (claims["whose"] == "paper")).sum())
    card = page.locator(".card", has=page.locator("a[href='result-panacea-figure4-tiny.html']")).first
    assert re.match(rf"{held} hold\b", card.locator(".badge.holds").first.inner_text())


def test_a_method_is_switched_off_and_a_point_is_hovered(visit):
    page = visit().open("result-panacea-figure4-tiny.html")
    assert {"Panacea", "Rewarded Soups", "exact front"} <= {name for name, _ in drawn(page)}
    page.get_by_label("Rewarded Soups", exact=True).uncheck()
    assert "Rewarded Soups" not in {name for name, _ in drawn(page)}
    page.get_by_label("exact front").uncheck()
    assert "exact front" not in {name for name, _ in drawn(page)}
    page.get_by_label("exact front").check()
    page.get_by_label("with their means").uncheck()
    for seed in ("1", "2"):
        page.get_by_label(seed, exact=True).uncheck()
    page.locator(".front").scroll_into_view_if_needed()
    place = page.evaluate("""() => {
        const plot = document.querySelector('.front .plot'), axes = plot._fullLayout;
        const trace = plot.data.find((each) => each.name === 'Panacea'), box = plot.getBoundingClientRect();
        const x = box.x + axes._size.l + axes.xaxis.d2p(trace.x[3]);
        return {x, y: box.y + axes._size.t + axes.yaxis.d2p(trace.y[3])};
    }""")
    page.mouse.move(place["x"] - 40, place["y"])
    page.mouse.move(place["x"], place["y"], steps=4)
    page.locator(".hoverlayer .hovertext", has_text="preference: helpful 0.3").first.wait_for()
    said = page.locator(".hoverlayer").text_content() or ""
    points = POINTS.read(FIGURE4 / POINTS.file)
    mine = points[(points["method"] == "panacea") & (points["seed"] == 0) & (points["lambda_helpful"] == 0.3)]
    row = mine.loc[mine["step"].idxmax()]
    for text in (
        "Panacea",
        "seed 0",
        "preference: helpful 0.3, harmless 0.7",
        f"helpful {row['gold_helpful']:.4g}, harmless {row['gold_harmless']:.4g}",
        f"KL {row['kl']:.4g} nats",
        "regret 0.",
    ):
        assert text in said
    keep(page, "front")
    page.locator("summary", has_text="The points shown").click()
    page.locator(".front tbody tr").first.wait_for()
    assert page.locator(".front tbody tr").count() == 11 * 4 + 1  # four methods on the grid, and SFT


def test_three_objectives_turn_and_more_stand_side_by_side(visit):
    page = visit(color_scheme="dark").open("result-panacea-figure_dimensions-tiny.html")
    # What Chromium has not yet shown of a plot in space is not on its screenshots.
    page.evaluate("document.querySelector('#front').scrollIntoView()")
    page.get_by_role("combobox", name="part").select_option(label="m4")
    page.get_by_role("combobox", name="across").select_option("value 2")
    assert page.evaluate("document.querySelector('.front .plot').layout.xaxis.title.text").startswith(
        "concise"
    )
    page.get_by_role("combobox", name="across").select_option("value 0")
    page.get_by_role("combobox", name="view").select_option("space")
    assert {kind for _, kind in drawn(page)} == {"scatter3d"}
    eye = "document.querySelector('.front .plot')._fullLayout.scene.camera.eye.x"
    before = page.evaluate(eye)
    keep(page, "space")
    page.get_by_role("button", name="Turn left").click()
    page.wait_for_function(f"{eye} !== {before}")
    page.evaluate("document.querySelector('#front').scrollIntoView()")
    page.get_by_role("combobox", name="view").select_option("lines")
    assert drawn(page)[0][1] == "parcoords"
    assert page.get_by_text("WebGL is not supported").count() == 0
    names = page.evaluate(
        "document.querySelector('.front .plot').data[0].dimensions.map((each) => each.label)"
    )
    assert names[:4] == ["helpful", "harmless", "concise", "humorous"]
    keep(page, "lines")


def test_a_claim_is_found_by_its_words_from_the_keyboard(visit):
    page = visit().open("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_role("searchbox").focus()
    page.keyboard.type("rewarded beats SOUPS panacea")
    page.locator("#found li:first-child", has_text="Panacea beats Rewarded Soups").wait_for()
    # The laptop's comes first, and the small world's next.
    page.keyboard.press("ArrowDown")
    keep(page, "search")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/result-panacea-figure4-tiny.html#claim-*")
    claim = page.locator(".claim:target")
    assert "hypervolume difference (gold) > bound" in claim.inner_text()
    # The interval is drawn where it stands in claims.csv.
    (row,) = (
        CLAIMS.read(FIGURE4 / CLAIMS.file).query("claim == 'Panacea beats Rewarded Soups'").to_dict("records")
    )
    drawn(page, ".claim:target .interval")
    trace = page.evaluate("document.querySelector('.claim:target .interval').data[0]")
    assert trace["x"] == [row["value"]]
    assert row["value"] - trace["error_x"]["arrayminus"][0] == pytest.approx(row["ci_low"])
    assert row["value"] + trace["error_x"]["array"][0] == pytest.approx(row["ci_high"])
    keep(page, "claim")


def test_any_two_are_compared_as_moa_compare_does(visit):
    page = visit().open("compare.html")
    page.get_by_role("combobox", name="First").select_option("panacea/figure4/tiny")
    page.get_by_role("combobox", name="Second").select_option("gapo/figure_pareto/tiny")
    page.wait_for_function(
        "document.querySelector('#compared')?.innerText.includes('gapo/figure_pareto/tiny')"
    )
    shown = page.locator("#compared tr").evaluate_all(
        "all => all.map(row => [...row.cells].map(x => x.textContent))"
    )
    # On the page a run is called by its whole name; the order is that of the results.
    runs = load_runs([FIGURE4, RESULTS / "gapo" / "figure_pareto" / "tiny"])
    expected = cells_of(compare(runs))
    assert [row[2:] for row in shown] == [row[2:] for row in expected]
    names = {each[0] for each in drawn(page, "#both .plot")}
    assert {"panacea/figure4/tiny: Panacea", "gapo/figure_pareto/tiny: P-GAPO"} <= names
    keep(page, "compare")
    # The address leads there again.
    again = page.url
    page.goto("about:blank")
    page.goto(again)
    page.wait_for_function(
        "document.querySelector('#compared')?.innerText.includes('gapo/figure_pareto/tiny')"
    )


def test_heads_have_no_mean_over_seeds(visit):
    """`head 0` of one seed is not that of another; of methods that know preferences, or have one policy, there are."""
    page = visit().open("result-cross-figure_fronts-tiny.html")
    page.get_by_role("combobox", name="values").select_option("gold")
    drawn(page)
    told = "x => [x.name, x.opacity, x.text.join().includes('mean of')]"
    traces = page.evaluate(f"document.querySelector('.front .plot').data.map({told})")
    assert [each[1:] for each in traces if each[0] == "HaM"] == [[1, False]] * 10
    for name in ("MODPO", "SFT"):
        assert [each[1:] for each in traces if each[0] == name] == [[0.45, False]] * 10 + [[1, True]]


def test_each_of_two_results_has_its_exact_front(visit):
    page = visit().open("compare.html#a=panacea-figure4-tiny&b=panacea-figure5-tiny")
    drawn(page, "#both .plot")
    of = "filter(x => x.name.includes('exact')).map(x => [x.name, x.line.dash])"
    names = [f"panacea/{each}/tiny: exact front" for each in ("figure4", "figure5")]
    assert page.evaluate(f"document.querySelector('#both .plot').data.{of}") == [
        [names[0], "solid"],
        [names[1], "dash"],
    ]
    assert page.get_by_label(f"{names[0]} (solid), {names[1]} (dashed)").is_checked()
    # One where both are equal, in whatever order of objectives; one where only the second has one.
    told = """([one, other]) => {
        const of = (exact, objectives) => ({objectives, exact, methods: [], spaces: {}, left_out: 0});
        return moa.both(of(one, ["a", "b"]), of(other, ["b", "a"]), "x", "y").exacts;
    }"""
    front, turned = [[[1, 2], [0, 1]], [[2, 1], [1, 0]]], [[[1, 2], [0, 1]], [[2, 1], [1, 0]]]
    assert page.evaluate(told, [front, turned]) == [{"name": "exact front", "points": front}]
    assert [each["name"] for each in page.evaluate(told, [[], turned])] == ["y: exact front"]
    assert page.evaluate(told, [[], []]) == []


def test_nothing_can_be_sent_anywhere(visit):
    page = visit().open("result-panacea-figure5-tiny.html")
    drawn(page)
    titles = page.locator(".modebar-btn").evaluate_all("all => all.map(x => x.dataset.title)")
    assert titles
    assert not [title for title in titles if "share" in title.lower() or "cloud" in title.lower()]


def test_dark_and_light(visit):
    colour = "getComputedStyle(document.body).backgroundColor"
    page = visit(color_scheme="dark").open("result-panacea-figure5-tiny.html")
    drawn(page)
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Dark or light").press("Enter")
    assert page.evaluate(colour) != dark
    page.wait_for_function("document.querySelector('.front .plot').layout.paper_bgcolor === '#fff'")
    # The choice is kept from page to page.
    page.get_by_role("link", name="Methods", exact=True).click()
    page.get_by_role("heading", name="Methods").wait_for()
    assert page.evaluate(colour) != dark


def test_a_phone_shows_whole_pages(visit):
    pages = visit(viewport=PHONE)
    for name in (
        "index.html",
        "compare.html",
        "method-panacea.html",
        "result-panacea-figure4-tiny.html",
        "result-gapo-table_main-tiny.html",
    ):
        page = pages.open(name)
        if page.locator(".front .plot").count():
            drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        keep(page, f"phone-{name.removesuffix('.html')}")


KINDS = ("index.html", "compare.html", "method-panacea.html", "result-panacea-figure4-tiny.html")


@pytest.mark.parametrize(("theme", "names"), [("light", KINDS), ("dark", KINDS[::3])])
def test_axe_finds_no_serious_fault(visit, theme, names):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    pages = visit(color_scheme=theme, bypass_csp=True)
    for name in names:
        page = pages.open(name)
        if page.locator(".front").count():
            drawn(page)
        # Without `preload` it would ask for the style sheets, which pages from the disk may not do.
        found = axe.run(page, options={"preload": False}).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        told = [(name, each["id"], [node["html"][:150] for node in each["nodes"][:3]]) for each in serious]
        assert not told, told


MARKUP = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def test_what_others_wrote_is_text(browser, tmp_path):
    """Markup and scripts in every text that somebody else's results may hold."""
    pytest.importorskip("plotly", reason="the extra `report` is not installed")
    folder = tmp_path / "theirs" / "panacea" / "figure4" / "tiny"
    shutil.copytree(FIGURE4, folder)
    points = pd.read_csv(folder / POINTS.file)
    points["method"] = points["method"].replace("panacea", f"panacea{MARKUP}")
    points["policy"] = points["policy"].replace("steered", f"{{{{7*7}}}}{MARKUP}")
    POINTS.write(points.astype({"policy": str}).fillna({"policy": ""}), folder / POINTS.file)
    claims = CLAIMS.read(folder / CLAIMS.file)
    CLAIMS.write(claims.assign(claim=f"claim{MARKUP}", where=MARKUP), folder / CLAIMS.file)
    (folder / "run.yaml").write_text(
        f"commit: {{id: '{MARKUP}'}}\nconfig: {{a: '{MARKUP}'}}\npackages: {{}}\n"
    )
    (folder / "answers.csv").write_text(f'prompt,response\n"{MARKUP}",{{{{7*7}}}}\n')
    (folder / "odd & 'name' <b>.csv").write_text(f"{MARKUP}\n{MARKUP}\n")
    write_site([tmp_path / "theirs"], tmp_path / "site")
    visit = Visit(browser, tmp_path / "site")
    page = visit.open("result-panacea-figure4-tiny.html")
    drawn(page)
    body = page.locator("body").inner_text()
    assert f"claim{MARKUP}" in body
    over = page.evaluate("document.querySelector('.front .plot').data.map((each) => each.text[0]).join()")
    assert "panacea&lt;img src=x" in over
    assert "<img" not in over
    assert "{{7*7}}" in body
    assert page.locator("main script, main img[src='x']").count() == 0
    page.get_by_role("searchbox").fill("onerror")
    page.locator("#found li").first.wait_for()
    link = page.get_by_role("link", name="odd & 'name' <b>.csv")
    assert (tmp_path / "site" / (link.get_attribute("href") or "")).is_file()
    methods = visit.open("methods.html")
    methods.get_by_role("link", name="img src").click()
    visit.close()
