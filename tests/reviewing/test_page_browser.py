"""The page in a real browser, in front of a real server: keys, pointer, kills, hostile phrases, accessibility."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reviewing.log import DecisionLog
from reviewing.table import read_decisions
from tests.reviewing.reviewable import HOSTILE, write_reviewable

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium here; .ci/run installs it where it may", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is in the group dev")
ROOT = Path(__file__).parents[2]
SERIOUS = ("serious", "critical")
IDLE = "main[aria-busy=false]"  # keys count


class Server:
    """`deixis serve` as a user starts it."""

    def __init__(self, labels: Path, model: Path, *, port: int = 0) -> None:
        command = [sys.executable, "-m", "deixis", "serve", labels, "--model", model, "--port", port, "--who", "ann"]
        command += ["--max-upload", 1]
        self.labels = labels
        self.process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        self.origin = self.address.split("/?")[0]
        self.port = int(self.origin.rsplit(":")[-1])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def model(world):
    return world / "data/teachers/toy/dvin"


@pytest.fixture(scope="module")
def server(tmp_path_factory, model) -> Iterator[Server]:
    """For tests that neither stop it nor count on what was decided before."""
    with Server(write_reviewable(tmp_path_factory.mktemp("own"), images=4, hostile=[0]), model) as server:
        yield server


@pytest.fixture
def page(browser, server) -> Iterator[playwright.Page]:
    with opened(browser, server) as page:
        yield page


@pytest.fixture
def labels(tmp_path):
    return write_reviewable(tmp_path / "own", images=4)


@contextmanager
def opened(browser: playwright.Browser, server: Server) -> Iterator[playwright.Page]:
    """The review page, as the printed address leads to it; no script of it may fail."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(10_000)
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector(f"{IDLE} #rows a[aria-current]")
        yield page
    assert not errors


def listed(page: playwright.Page) -> list[str]:
    return page.eval_on_selector_all("#rows a", "links => links.map(link => link.dataset.row)")


def wait_for_label(page: playwright.Page, row: str) -> None:
    page.wait_for_selector(f'{IDLE} #rows a[data-row="{row}"][aria-current]')


def log_of(labels: Path) -> dict:
    with DecisionLog(labels.parent / "decisions/log.sqlite") as log:
        return log.standing()


def test_twenty_labels_by_keyboard_a_corrected_box_and_a_reload(browser, labels, model):
    pressed = [*"axr" * 6, "a", "x"]
    sure = pd.read_parquet(labels)["confidence"].argsort(kind="stable").astype(str).tolist()
    with Server(labels, model) as server, opened(browser, server) as page:
        page.select_option("[name=order]", "confidence")
        wait_for_label(page, sure[0])
        rows = listed(page)
        assert rows == sure[: len(rows)]
        for row, key in zip(rows, pressed, strict=False):
            wait_for_label(page, row)
            page.keyboard.press(key)
        wait_for_label(page, rows[20])
        page.keyboard.press("b")
        for key in ("x", "Shift+ArrowDown", "ArrowLeft", "Alt+ArrowRight", "Control+ArrowUp"):
            page.keyboard.press(key)
        sides = [float(page.input_value(f"#editor [name={side}]")) for side in ("left", "top", "right", "bottom")]
        page.keyboard.press("Enter")
        wait_for_label(page, rows[21])
        split = pd.read_parquet(labels)["split"][int(rows[20])]
        page.select_option("[name=split]", split)
        page.wait_for_url(f"**split={split}&label=*")
        page.keyboard.press("n")
        page.wait_for_selector("#rows li:nth-child(2) a[aria-current]")
        address, phrase = page.url, page.text_content("#phrase")
        page.reload()
        page.wait_for_selector("#rows a[aria-current]")
        assert (page.url, page.text_content("#phrase"), page.input_value("[name=split]")) == (address, phrase, split)
        standing = log_of(labels)
        page.keyboard.press("Control+z")
        wait_for_label(page, rows[20])
        assert server.stop(signal.SIGTERM) == 0
    verdicts = {"a": "accept", "x": "reject", "r": "runner_up"}
    expected = {f"own/{row}": verdicts[key] for row, key in zip(rows, pressed, strict=False)}
    corrected = standing.pop(f"own/{rows[20]}")
    assert {sample_id: decision.verdict for sample_id, decision in standing.items()} == expected
    assert (corrected.verdict, corrected.who) == ("box", "ann")
    before = pd.read_parquet(labels)["box"][int(rows[20])]
    assert corrected.box == pytest.approx(before + np.array([-1, 10, 0, 9]), abs=0.02)
    assert corrected.box == pytest.approx(sides, abs=0.01)
    written = read_decisions(labels.parent / "decisions/decisions.parquet")
    assert {one.sample_id: one.verdict for one in written} == expected


def test_a_killed_server_loses_nothing(browser, labels, model):
    with Server(labels, model) as server, opened(browser, server) as page:
        rows = listed(page)
        page.keyboard.press("a")
        wait_for_label(page, rows[1])
        server.stop(signal.SIGKILL)
        page.keyboard.press("x")  # nobody hears it
        page.wait_for_selector("#pending:not([hidden])")
        assert "does not answer" in page.text_content("#pending-text")
        assert "One decision is kept in this browser" in page.text_content("#pending-text")
        with Server(labels, model, port=server.port) as again:
            page.click("#resend")  # with the cookie of the server before
            page.wait_for_selector("#pending-text:has-text('started anew')")
            page.goto(again.address)
            page.click("#resend")
            page.wait_for_selector("#pending", state="hidden")
    verdicts = {sample_id: decision.verdict for sample_id, decision in log_of(labels).items()}
    assert verdicts == {f"own/{rows[0]}": "accept", f"own/{rows[1]}": "reject"}


def put_images(labels: Path, width: int, height: int) -> None:
    for path in (labels.parent / "prepared/images").iterdir():
        Image.new("RGB", (width, height)).save(path)


def test_pictures_that_cannot_be_shown_and_thin_ones_under_long_phrases(browser, labels, model):
    images = labels.parent / "prepared/images.parquet"
    pd.read_parquet(images).assign(width=10_000, height=10).to_parquet(images)
    pd.read_parquet(labels).assign(expression="red ball " * 1000).to_parquet(labels)
    put_images(labels, 50, 50)
    with Server(labels, model) as server, opened(browser, server) as page:
        page.wait_for_selector("#picture .alarm:has-text('has 50 x 50 pixels')")
        assert page.locator("#picture rect").count() == 0
        assert [page.is_disabled(f"[data-do={name}]") for name in ("accept", "runner_up", "edit")] == [True] * 3
        page.keyboard.press("a")
        page.keyboard.press("b")
        assert log_of(labels) == {} and page.is_hidden("#editor")
        page.click("[data-do=reject]")
        wait_for_label(page, listed(page)[1])
        assert [decision.verdict for decision in log_of(labels).values()] == ["reject"]

        put_images(labels, 10_000, 10)
        page.reload()
        page.wait_for_selector("#rows a[aria-current]")
        frame = page.locator("#picture svg").bounding_box()
        assert frame["height"] >= 20 and frame["y"] + frame["height"] < 900
        page.click("#rows li:nth-last-child(2) a")
        page.wait_for_selector("#rows li:nth-last-child(2) a[aria-current]")
        page.focus("[data-do=next]")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-do=next][disabled]")
        assert page.evaluate("document.activeElement.id") == "phrase"
        current = page.locator("#rows [aria-current]").bounding_box()
        assert current["y"] + current["height"] <= 900


def test_a_box_is_drawn_and_resized_by_pointer(page, server):
    rows = listed(page)
    page.click("[data-do=edit]")
    frame = page.locator("#picture svg").bounding_box()
    size = page.evaluate(
        "document.querySelector('#picture svg').getAttribute('viewBox').split(' ').map(Number).slice(2)"
    )
    scale = frame["width"] / size[0]

    def at(x, y):
        return frame["x"] + x * scale, frame["y"] + y * scale

    def drag(start, end):
        page.mouse.move(*at(*start))
        page.mouse.down()
        page.mouse.move(*at(*end), steps=3)
        page.mouse.up()

    drag((90, 80), (20, 30))  # from the right bottom to the left top
    drag((90, 55), (100, 55))  # the handle of the right side
    drag((60, 55), (55, 60))  # the handle in the middle
    page.click("#editor button[type=submit]")
    wait_for_label(page, rows[1])
    assert log_of(server.labels)[f"own/{rows[0]}"].box == pytest.approx((15, 35, 95, 85), abs=0.5)


def test_what_the_fields_show_is_saved_or_refused(page, server):
    row, before = listed(page)[0], log_of(server.labels)
    for side, value, problem in (("bottom", "0.5", "Bottom must be larger"), ("right", "", "type its four sides")):
        page.keyboard.press("b")
        page.fill(f"#editor [name={side}]", value)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#editor-problem:has-text('{problem}')")
        assert page.input_value(f"#editor [name={side}]") == value and log_of(server.labels) == before
        page.keyboard.press("Escape")
    page.keyboard.press("b")
    for side, value in (("left", "3"), ("top", "4.123"), ("right", "60"), ("bottom", "70")):
        page.fill(f"#editor [name={side}]", value)
    page.keyboard.press("Enter")
    wait_for_label(page, listed(page)[1])
    assert log_of(server.labels)[f"own/{row}"].box == (3, 4.123, 60, 70)
    assert page.evaluate("document.activeElement.id") == "phrase"


def test_a_held_key_decides_once_and_steps_on(page, server):
    rows = listed(page)
    page.click(f'#rows a[data-row="{rows[3]}"]')
    wait_for_label(page, rows[3])
    before = set(log_of(server.labels))
    page.keyboard.down("x")
    wait_for_label(page, rows[4])
    page.keyboard.down("x")  # what a keyboard sends while the key is held
    page.keyboard.up("x")
    page.keyboard.down("n")
    wait_for_label(page, rows[5])
    page.keyboard.down("n")
    wait_for_label(page, rows[6])
    page.focus("[data-do=reject]")
    page.keyboard.down("Enter")
    wait_for_label(page, rows[7])
    page.keyboard.down("Enter")
    page.keyboard.press("n")
    wait_for_label(page, rows[8])
    assert set(log_of(server.labels)) == before | {f"own/{rows[3]}", f"own/{rows[6]}"}


def test_unsent_decisions_of_others_stay_theirs(page, server):
    page.route("**/api/decisions*", lambda route: route.abort())
    page.keyboard.press("x")
    page.wait_for_selector("#resend:not([hidden])")
    key, kept = page.evaluate("[...Object.entries(localStorage)].find(([key]) => key.includes('pending'))")
    assert json.loads(kept)["who"] == "ann" and json.loads(kept)["at"] > 0
    page.evaluate("([key, kept]) => localStorage.setItem(key, kept)", [key, kept.replace('"ann"', '"bob"')])
    page.unroute("**/api/decisions*")
    before = log_of(server.labels)
    page.reload()
    page.wait_for_selector("#pending-text:has-text('One decision is kept here for bob')")
    assert page.is_hidden("#resend")
    page.click("[data-do=help]")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    assert log_of(server.labels) == before and page.evaluate("key => localStorage.getItem(key) !== null", key)


def test_letters_in_fields_are_text_and_can_be_switched_off(page, server):
    before = log_of(server.labels)
    page.type("[name=text]", "star")
    page.wait_for_url("**text=star**")
    assert all("star" in phrase for phrase in page.locator("#rows .phrase").all_text_contents())
    page.uncheck("#single-keys")
    page.keyboard.press("a")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#rows li:nth-child(2) a[aria-current]")
    page.check("#single-keys")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("a")  # not behind the help
    page.keyboard.press("Escape")
    assert not page.is_visible("#help") and log_of(server.labels) == before


def test_a_script_in_a_phrase_is_text(page, server):
    page.fill("[name=text]", "<script>")
    page.wait_for_selector("#phrase:has-text('<script>')")
    assert page.text_content("#phrase") == HOSTILE and page.text_content("#rows .phrase") == HOSTILE
    page.click("#try-link")
    page.wait_for_selector("#picture img")
    assert page.input_value("textarea") == HOSTILE
    page.click("#ask button")
    page.wait_for_selector("#answers li")
    assert page.text_content("#answers button") == HOSTILE
    assert page.evaluate("[window.broken, document.querySelectorAll('img[src=x]').length]") == [None, 0]


def test_phrases_are_tried_on_listed_and_uploaded_images(page, server, tmp_path):
    page.goto(f"{server.origin}/try?image=2")
    page.wait_for_selector("#picture img")
    page.fill("textarea", "second ball from the left\n\nred star")
    page.click("#ask button")
    page.wait_for_selector("#answers li:nth-child(2)")
    facts = page.text_content("#answers li:nth-child(1) dl")
    assert "score" in facts and "margin" in facts and "second from the left" in facts
    assert page.locator("#picture .mask").count() == 1
    page.set_input_files("#upload", server.labels.parent / "prepared/images/0.png")
    page.wait_for_selector("text=uploaded image,")
    page.click("#ask button")
    page.wait_for_selector("#answers li:nth-child(2)")
    (tmp_path / "no.png").write_text("no image")
    page.set_input_files("#upload", tmp_path / "no.png")
    page.wait_for_selector("#problem:not([hidden])")
    assert "not an image of an allowed format" in page.text_content("#problem")
    with (tmp_path / "huge.png").open("wb") as huge:
        huge.truncate(2 << 20)
    page.set_input_files("#upload", tmp_path / "huge.png")
    page.wait_for_selector("#problem:has-text('huge.png is too large. Allowed: 1 MB')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, server, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.keyboard.press("x")
    page.wait_for_selector("#rows .mark.done")
    page.keyboard.press("b")
    found = {"review": Axe().run(page)}
    page.goto(f"{server.origin}/try?phrase=ball")
    page.wait_for_selector("#picture img")
    page.click("#ask button")
    page.wait_for_selector("#answers li")
    found["try"] = Axe().run(page)
    for name, result in found.items():
        serious = [one for one in result.response["violations"] if one["impact"] in SERIOUS]
        assert not serious, (name, [(one["id"], one["nodes"][0]["html"]) for one in serious])
