"""The page in headless Chromium, on a trained policy. `MOA_SCREENSHOTS=FOLDER pytest tests/demo` keeps a screenshot."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightning_moa.demo.answers import Answers, Choice
from lightning_moa.demo.choices import choices
from lightning_moa.demo.server import app
from lightning_moa.errors import UserError
from lightning_moa.world.lexicon import OPENERS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SLOW = 60_000
"""Milliseconds that an answer may take on a busy machine."""
RISKY = "steal boats"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@contextmanager
def served(answers):
    """The page's address."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(uvicorn.Config(app(answers), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def address(study):
    with served(Answers(choices(study))) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        # The sandbox asks for what containers do not have; the page is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Asks nobody else for anything and has no fault on the console; checked when the test has ended."""
    faults, pages = [], []

    def begin(address, **options):
        def asked(request):
            if not request.url.startswith((address, "data:", "blob:")):
                faults.append(f"asked for {request.url}")

        page = browser.new_page(**({"viewport": {"width": 1280, "height": 1000}} | options))
        pages.append(page)
        page.set_default_timeout(SLOW)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.on("request", asked)
        page.goto(address)
        return page

    yield begin
    for page in pages:
        page.close()
    assert not faults, faults


@pytest.fixture
def page(visit, address):
    return visit(address)


def keep(page, name):
    if folder := os.environ.get("MOA_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def answered(page, preference):
    """Waits for the answers at a preference; their texts by whose they are."""
    page.wait_for_function(
        "want => JSON.parse(document.querySelector('#state').dataset.done || '[]')"
        ".filter((each, i) => Math.abs(each - want[i]) < 1e-6).length === want.length",
        arg=preference,
    )
    return dict(
        page.locator(".answer").evaluate_all(
            "all => all.map(x => [x.dataset.which, x.querySelector('p').textContent])"
        )
    )


def test_the_slider_from_one_corner_to_the_other_changes_the_answers(page):
    answered(page, [0.5, 0.5])
    assert not page.locator("#policy").is_visible()
    page.get_by_label("Prompt, at most").fill(RISKY)
    slider = page.get_by_role("slider")
    slider.press("End")
    helpful = answered(page, [1, 0])
    first = page.locator("#place").inner_text()
    slider.press("Home")
    harmless = answered(page, [0, 1])
    assert helpful["chosen"] == helpful["helpful"] == harmless["helpful"]
    assert harmless["chosen"] == harmless["harmless"] == helpful["harmless"]
    # From complying to refusing, as the world's words say.
    assert helpful["chosen"].split()[0] in OPENERS["comply"]
    assert harmless["chosen"].split()[0] in OPENERS["refuse"]
    assert helpful["reference"] == harmless["reference"]
    assert harmless["best"].split()[0] in OPENERS["refuse"]
    # The point has moved along the front, and each answer has a bar for each objective.
    assert page.locator("#place").inner_text() != first
    assert page.evaluate("document.querySelector('#front').data.at(-1).x.length") == 1
    assert page.locator(".answer.chosen meter").count() == 2
    page.get_by_role("button", name="Dark or light").click()
    keep(page, "demo")


def test_between_the_corners_a_risky_request_is_completed_safely(page):
    """As in Panacea's Figure 6: from refusing over completing safely to complying."""
    modes = {word: mode for mode, words in OPENERS.items() for word in words}
    answered(page, [0.5, 0.5])
    page.get_by_label("Prompt, at most").fill(RISKY)
    seen = []
    for percent in range(0, 101, 5):
        page.get_by_role("slider").fill(str(percent / 100))
        seen.append(modes.get(answered(page, [percent / 100, 1 - percent / 100])["chosen"].split()[0]))
        if seen[-1] == "safe":
            keep(page, "demo-between")
    order = ["refuse", "safe", "comply"]
    assert list(dict.fromkeys(seen)) == order
    assert seen == sorted(seen, key=order.index)


def test_what_is_written_is_text(page):
    answered(page, [0.5, 0.5])
    page.get_by_label("Prompt, at most").fill("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Answer", exact=True).click()
    page.get_by_text("done", exact=True).wait_for()
    assert page.locator("main img").count() == 0


def test_by_keyboard_alone(page):
    answered(page, [0.5, 0.5])
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached == ["skip", "theme", "held", "prompt", ""]
    focused = page.locator(":focus")
    assert focused.get_attribute("type") == "range"
    assert focused.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    assert focused.get_attribute("aria-valuetext") == "helpful 0.51, harmless 0.49"
    page.keyboard.press("Home")
    answered(page, [0, 1])
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type(RISKY)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert answered(page, [0, 1])["chosen"].split()[0] in OPENERS["refuse"]


def test_a_phone_shows_the_whole_page_and_moves_the_slider(visit, address):
    page = visit(address, **PHONE)
    answered(page, [0.5, 0.5])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    slider = page.get_by_role("slider")
    place = slider.bounding_box()
    assert place["width"] >= 120
    assert place["height"] >= 24
    page.touchscreen.tap(place["x"] + place["width"] - 1, place["y"] + place["height"] / 2)
    answered(page, [1, 0])
    keep(page, "demo-phone")


def test_a_phone_shows_long_names_and_long_words_whole(visit, study, monkeypatch):
    def load():
        raise UserError("x" * 300)

    names = [f"how_{each}_the_answer_is_to_a_reader" for each in ("helpful", "harmless", "honest", "short")]
    made = [Choice("a" * 80, tuple(names[:m]), load, None) for m in (2, 3, 4)]
    with served(Answers(made)) as address:
        page = visit(address, **PHONE)
        for i in range(3):
            page.get_by_label("Policy").select_option(index=i)
            page.get_by_text("a prompt is needed").wait_for()
            page.get_by_label("Prompt, at most").fill("x" * 1000)
            page.get_by_role("button", name="Answer", exact=True).click()
            page.get_by_text("x" * 300).wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            places = [each.bounding_box() for each in page.get_by_role("slider").all()]
            assert all(each["width"] >= 100 and each["x"] + each["width"] <= 360 for each in places)
            keep(page, f"demo-phone-{i}")


def test_a_triangle_for_three_objectives_and_bars_for_more(visit, monkeypatch):
    def load():
        raise UserError("nothing is loaded here")

    class Measured:
        """In the place of a study of m objectives."""

        def __init__(self, m):
            self.points = [[[1, 0, 0, 0][:m], [1, 2, 3, 4][:m]], [[0, 0.5, 0.5, 0][:m], [0, 1, 1, 0][:m]]]

        def prompts(self, most):
            return ["x"]

    def front(study):
        return {"space": "gold", "points": study.points, "exact": []}

    monkeypatch.setattr("lightning_moa.demo.server.measured_front", front)
    made = [
        Choice("three", tuple("abc"), load, Measured(3)),
        Choice("four", tuple("abcd"), load, Measured(4)),
    ]
    with served(Answers(made)) as address:
        page = visit(address)
        triangle = page.locator("#simplex svg")
        place = triangle.bounding_box()

        def weights():
            said = page.locator("#simplex .bars output").all_inner_texts()
            return list(map(float, said))

        # The lower left corner is all weight on the first.
        page.mouse.click(place["x"] + 2, place["y"] + place["height"] - 4)
        assert weights() == [1, 0, 0]
        assert page.locator("#place").inner_text() == "Measured at a 1, b 0, c 0: mean gold a 1, b 2, c 3."
        page.get_by_role("slider", name="b", exact=True).fill("0.4")
        assert weights() == [0.6, 0.4, 0]
        page.get_by_role("slider", name="c", exact=True).fill("1")
        page.get_by_role("slider", name="c", exact=True).fill("0.5")
        assert weights() == [0.25, 0.25, 0.5]
        assert page.locator("#place").inner_text().startswith("Measured at a 0, b 0.5, c 0.5")
        assert page.evaluate("document.querySelector('#front').data.at(-1).type") == "scatter3d"
        page.get_by_label("Prompt, at most").fill("x")
        page.get_by_role("button", name="Answer", exact=True).click()
        page.get_by_text("nothing is loaded here").wait_for()
        keep(page, "demo-three")
        page.get_by_label("Policy").select_option("four")
        assert page.get_by_role("slider").count() == 4
        assert page.locator("#simplex svg").count() == 0
        assert weights() == [0.25] * 4
        assert page.evaluate("document.querySelector('#front').data.at(-1).type") == "scatter"


def test_axe_finds_no_serious_fault(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    answered(page, [0.5, 0.5])
    found = axe.run(page, options={"preload": False}).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    told = [(each["id"], [node["html"][:150] for node in each["nodes"][:3]]) for each in serious]
    assert not told, told
