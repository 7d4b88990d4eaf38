"""The predictor's page in a real browser, in front of a real predictor."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, Route, expect, sync_playwright

from tests.chromium import chromium, overflow
from tests.serving.models import CLASS_NAMES, IMAGE_SIZE, NAME
from tests.serving.pictures import JPEG, encoded
from tests.serving.running import Running
from yololine.reporting.palette import CLASS_COLOURS
from yololine.serving.page_files import read_page

PHONE, TABLET, DESK = 390, 760, 1280
"""Widths in CSS pixels."""
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SCRATCH_XYXY, PIT_XYXY = (8, 8, 24, 24), (32, 32, 56, 40)
"""Where the model of these tests finds them in a picture of 64 x 64."""
FOUND = re.compile("a score of")
TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One with a camera that shows a test pattern, and a user who allows it."""
    with chromium(playwright, *FAKE_CAMERA) as started:
        yield started


class Visit:
    """Somebody at the page, and what the browser complained of and asked for."""

    def __init__(self, browser: Browser, url: str, *, path: str = "/", **context: Any) -> None:
        """Go there; `route` first where an answer should be another."""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_context(**context).new_page()
        self.page.on("console", lambda told: self.complaints.append(told.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self._url = url + path

    def go(self) -> Visit:
        """Open the page and wait for its model."""
        self.page.goto(self._url)
        expect(self.page.locator("#state")).to_have_text("Ready")
        return self

    def choose(self, content: bytes = JPEG, name: str = "sheet.jpg") -> None:
        """Choose a file, and wait for the answer."""
        kind = {"tiff": "image/tiff", "png": "image/png"}.get(name.rpartition(".")[2], "image/jpeg")
        self.page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})
        expect(self.page.locator("#said")).to_have_text(re.compile(re.escape(name)))

    @property
    def rows(self) -> list[str]:
        """Of the table of detections: class and score."""
        rows = self.page.locator("#rows tr").all()
        return [" ".join(row.locator("th, td").all_inner_texts()[:2]) for row in rows]

    @property
    def predictions(self) -> list[str]:
        """Requests for detections so far."""
        return [url for url in self.requests if ":predict" in url]

    def colour_at(self, x: float, y: float, *, size_wh: tuple[int, int] = (64, 64)) -> str:
        """Of the stage, at a place of the picture in its pixels, as `#rrggbb`."""
        red, green, blue = self.page.evaluate(
            """([x, y, width, height]) => {
              const canvas = document.getElementById("picture");
              const scale = Math.min(canvas.width / width, canvas.height / height);
              const left = (canvas.width - width * scale) / 2;
              const top = (canvas.height - height * scale) / 2;
              const at = [left + x * scale, top + y * scale].map(Math.round);
              const dot = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
              dot.drawImage(canvas, ...at, 1, 1, 0, 0, 1, 1);
              return [...dot.getImageData(0, 0, 1, 1).data].slice(0, 3);
            }""",
            [x, y, *size_wh],
        )
        return f"#{red:02x}{green:02x}{blue:02x}"

    def overflow(self) -> list[str]:
        """What reaches out of the window, so that one would scroll sideways."""
        return overflow(self.page)

    def places(self) -> dict[str, Any]:
        """Where things lie."""
        return {
            name: self.page.locator(name).bounding_box()
            for name in (".stage", ".actions", "#controls", "#least", "#classes", ".list")
        }

    def leave(self) -> None:
        """Close the page; nothing may have been complained of, or asked of another server."""
        self.page.context.close()
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith((self._url, "data:"))] == []


@pytest.fixture
def visit(browser: Browser, predictor: Running) -> Iterator[Visit]:
    """A visit at a desk that must end without complaints."""
    started = Visit(browser, predictor.url, viewport={"width": DESK, "height": 900}).go()
    yield started
    started.leave()


def test_the_page_is_told_of_its_model(predictor: Running) -> None:
    told = httpx.get(f"{predictor.url}/page/config.json").raise_for_status().json()
    version = told.pop("model_version")
    assert told == {
        "model_name": NAME,
        "class_names": list(CLASS_NAMES),
        "image_size": IMAGE_SIZE,
        "min_score": 0.25,
        "max_image_bytes": 100_000,
    }
    metadata = httpx.get(f"{predictor.url}/v2/models/{NAME}").raise_for_status().json()
    assert metadata["versions"] == [version]


def test_the_page_is_whole_and_its_colours_are_those_of_the_reports() -> None:
    files = read_page()
    script = files["/page/page.js"][1].decode()
    block = script[script.index("CLASS_COLOURS = [") :].partition("]")[0]
    assert tuple(re.findall(r"#[0-9a-f]{6}", block)) == CLASS_COLOURS
    page = files["/"][1].decode()
    for path in re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', page):
        assert f"/{path}" in files
    assert re.findall(r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src)", page) == []


def test_a_picture_is_drawn_with_its_boxes(visit: Visit) -> None:
    page = visit.page
    assert page.title() == f"{NAME} · predictor"
    visit.choose()
    assert page.locator("#said").inner_text() == (
        "sheet.jpg: 1 scratch, 1 pit: deep, at a score of 0.25 or more."
    )
    label = page.locator("#picture").get_attribute("aria-label")
    assert label == page.locator("#said").inner_text()
    assert visit.rows == ["scratch 0.78", "pit: deep 0.30"]
    corners = page.locator("#rows tr").first.locator("td.num")
    assert corners.all_inner_texts() == [str(pixel) for pixel in SCRATCH_XYXY]
    for (x1, y1, x2, y2), colour in ((SCRATCH_XYXY, 0), (PIT_XYXY, 1)):
        middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
        for x, y in ((x1, middle_y), (x2, middle_y), (middle_x, y1), (middle_x, y2)):
            assert visit.colour_at(x, y) == CLASS_COLOURS[colour]
        assert visit.colour_at(middle_x, middle_y) == "#c8c8c8"
    assert page.locator("#found").inner_text() == "2"
    assert page.locator("#size").inner_text() == f"64{TIMES}64"
    trip, served = (
        float(page.locator(name).inner_text().removesuffix("ms")) for name in ("#trip", "#served")
    )
    assert 0 < served <= trip
    assert visit.predictions == [f"{page.url}v1/models/{NAME}:predict?min_score=0.05"]


def test_a_score_and_classes_are_chosen_without_asking_again(visit: Visit) -> None:
    visit.choose()
    page, counts = visit.page, visit.page.locator("#classes .count")
    page.locator("#least").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert page.locator("#least-value").inner_text() == "0.31"
    assert visit.rows == ["scratch 0.78"]
    assert counts.all_inner_texts() == ["1 of 1", "0 of 1"]
    assert visit.colour_at(PIT_XYXY[0], 36) == "#c8c8c8"
    expect(page.locator("#said")).to_have_text("sheet.jpg: 1 scratch, at a score of 0.31 or more.")
    page.keyboard.press("End")
    assert visit.rows == []
    assert page.locator("#rows-none").inner_text() == "None to show."
    page.keyboard.press("Home")
    assert visit.rows == ["scratch 0.78", "pit: deep 0.30"]
    page.get_by_role("checkbox", name="scratch").uncheck()
    assert visit.rows == ["pit: deep 0.30"]
    # A count tells what the score lets through, shown or not.
    assert counts.all_inner_texts() == ["1 of 1", "1 of 1"]
    assert visit.colour_at(SCRATCH_XYXY[0], 16) == "#c8c8c8"
    page.get_by_role("button", name="Show no class").click()
    assert visit.rows == []
    page.get_by_role("button", name="Show all classes").click()
    assert len(visit.rows) == 2
    assert len(visit.predictions) == 1


def test_a_row_and_its_box_light_up_together(visit: Visit) -> None:
    visit.choose()
    visit.page.locator("#rows tr").first.hover()
    # The other box fades.
    assert visit.colour_at(PIT_XYXY[0], 36) != CLASS_COLOURS[1]
    box = visit.page.locator("#picture").bounding_box()
    assert box
    visit.page.mouse.move(
        box["x"] + (box["width"] - box["height"]) / 2 + box["height"] * 44 / 64,
        box["y"] + box["height"] * 36 / 64,
    )
    expect(visit.page.locator("#rows tr.is-marked")).to_have_text(re.compile("pit: deep"))


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(PHONE, "light"), (PHONE, "dark"), (TABLET, "light"), (DESK, "light"), (DESK, "dark")],
)
def test_it_fits_and_is_accessible(
    browser: Browser, predictor: Running, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 844}
    visit = Visit(browser, predictor.url, viewport=size, color_scheme=scheme).go()
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(15, 17, 21)")
    visit.page.locator("summary").click()
    for content, words in ((None, ""), (JPEG, "scratch"), (b"no picture", "cannot be used")):
        if content:
            visit.choose(content)
        expect(visit.page.locator(".view")).to_contain_text(words)
        assert visit.overflow() == []
        found = Axe().run(visit.page)
        assert found.violations_count == 0, found.generate_report()
    # The browser itself notes every answer that is no success.
    assert "400" in visit.complaints.pop()
    visit.leave()


def test_nothing_moves_when_an_answer_comes(visit: Visit) -> None:
    before = visit.places()
    del before[".list"]["height"]
    for content in (JPEG, b"no picture", encoded(200, size_wh=(20, 200))):
        visit.choose(content)
        after = visit.places()
        del after[".list"]["height"]
        assert after == before
    assert "400" in visit.complaints.pop()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page, keyboard = visit.page, visit.page.keyboard
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    ring = "e => getComputedStyle(e).outlineStyle"
    assert page.eval_on_selector(".stage", ring) == "solid"
    with page.expect_file_chooser() as chooser:
        keyboard.press("Space")
    chooser.value.set_files({"name": "sheet.jpg", "mimeType": "image/jpeg", "buffer": JPEG})
    expect(page.locator("#said")).to_have_text(FOUND)
    # With a picture on the stage, the ring is the button's.
    assert page.eval_on_selector(".stage", ring) == "none"
    assert page.eval_on_selector(".button.is-first", ring) == "solid"
    reached = []
    for _ in range(8):
        keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert reached[:5] == ["paste", "camera", "least", "all", "none"]
    assert reached[5:7] == ["checkbox", "checkbox"]
    page.get_by_role("checkbox", name="scratch").focus()
    keyboard.press("Space")
    assert visit.rows == ["pit: deep 0.30"]


def test_a_picture_is_dropped(visit: Visit) -> None:
    page = visit.page
    data = page.evaluate_handle(
        """(bytes) => {
          const transfer = new DataTransfer();
          const content = new Uint8Array(bytes);
          transfer.items.add(new File([content], "dropped.jpg", { type: "image/jpeg" }));
          return transfer;
        }""",
        list(JPEG),
    )
    page.dispatch_event(".stage", "dragover", {"dataTransfer": data})
    expect(page.locator(".stage")).to_have_class(re.compile("is-over"))
    # Beside the stage is good enough.
    page.dispatch_event("h1", "drop", {"dataTransfer": data})
    expect(page.locator("#said")).to_have_text(re.compile("dropped.jpg: 1 scratch"))
    expect(page.locator(".stage")).not_to_have_class(re.compile("is-over"))
    page.dispatch_event(
        ".stage", "drop", {"dataTransfer": page.evaluate_handle("new DataTransfer()")}
    )
    expect(page.locator("#error")).to_contain_text("That is no file")


@pytest.mark.parametrize("how", ["button", "keys"])
def test_a_picture_is_pasted(browser: Browser, predictor: Running, how: str) -> None:
    allowed = ["clipboard-read", "clipboard-write"]
    visit = Visit(browser, predictor.url, permissions=allowed).go()
    visit.page.evaluate(
        """async (bytes) => {
          const picture = new Blob([new Uint8Array(bytes)], { type: "image/png" });
          await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }""",
        list(encoded(kind="PNG")),
    )
    if how == "button":
        visit.page.get_by_role("button", name="Paste").click()
    else:
        visit.page.keyboard.press("Control+V")
    expect(visit.page.locator("#said")).to_have_text(FOUND)
    assert visit.rows == ["scratch 0.78", "pit: deep 0.30"]
    visit.leave()


def test_the_camera_runs_until_it_is_stopped(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#trip-sub")).to_have_text(re.compile(r"[\d.]+ pictures/s"))
    expect(page.locator("#said")).to_have_text(re.compile("Camera: .*pit: deep"))
    expect(page.locator("#served")).to_have_text(re.compile("ms"))
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()
    asked = len(visit.predictions)
    assert asked >= 3
    assert len(visit.rows) >= 1
    page.wait_for_timeout(300)
    assert len(visit.predictions) == asked
    # A frame is sent when the one before is answered, never two at once.
    times: list[list[float]] = page.evaluate(
        """performance.getEntriesByType("resource").filter((e) => e.name.includes(":predict"))
          .map((e) => [e.startTime, e.responseEnd])"""
    )
    assert len(times) >= 3
    for (_, ended), (started, _) in pairwise(times):
        assert started >= ended


def test_a_file_ends_the_camera(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Use the camera").click()
    expect(visit.page.locator("#trip-sub")).to_have_text(re.compile("pictures/s"))
    visit.choose()
    expect(visit.page.get_by_role("button", name="Use the camera")).to_be_visible()
    asked = len(visit.predictions)
    visit.page.wait_for_timeout(200)
    assert len(visit.predictions) == asked
    assert visit.rows == ["scratch 0.78", "pit: deep 0.30"]


def test_the_camera_waits_where_the_server_is_busy(browser: Browser, predictor: Running) -> None:
    visit = Visit(browser, predictor.url)
    refusals = 2

    def busy(route: Route) -> None:
        nonlocal refusals
        refusals -= 1
        if refusals < 0:
            route.continue_()
            return
        route.fulfill(
            status=429,
            headers={"Retry-After": "0.4"},
            json={"error": "request: 64 of at most 64 pictures wait already; try again later"},
        )

    visit.page.route("**/*:predict*", busy)
    visit.go()
    visit.page.get_by_role("button", name="Use the camera").click()
    expect(visit.page.locator("#error")).to_contain_text("The server is busy")
    expect(visit.page.locator("#error")).to_contain_text("64 pictures wait already")
    expect(visit.page.locator("#said")).to_have_text(re.compile("Camera: "))
    expect(visit.page.locator("#error")).to_be_hidden()
    visit.page.get_by_role("button", name="Stop the camera").click()
    assert all("429" in told for told in visit.complaints)
    visit.page.context.close()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "There is no camera"),
        ((FAKE_CAMERA[0], "--deny-permission-prompts"), "The camera is not allowed"),
    ],
)
def test_no_camera_is_said_in_words(
    playwright: Playwright, predictor: Running, flags: tuple[str, ...], words: str
) -> None:
    with chromium(playwright, *flags) as plain:
        visit = Visit(plain, predictor.url).go()
        visit.page.get_by_role("button", name="Use the camera").click()
        expect(visit.page.locator("#error")).to_contain_text(words)
        expect(visit.page.get_by_role("button", name="Use the camera")).to_be_visible()
        visit.leave()


@pytest.mark.parametrize(
    ("content", "words", "asks"),
    [
        (b"no picture", "is no picture that can be read", True),
        (b"", "has 0 bytes", True),
        (JPEG[: len(JPEG) // 2], "is no picture that can be read", True),
        (os.urandom(100_001), "It has 101 kB; the server takes 100 kB at most", False),
        (encoded(size_wh=(1200, 1200)), "at most 1000000 pixels", True),
    ],
    ids=["text", "empty", "cut", "large", "pixels"],
)
def test_a_refusal_is_shown_in_words(visit: Visit, content: bytes, words: str, asks: bool) -> None:
    visit.choose()
    visit.choose(content, "wrong.jpg")
    expect(visit.page.get_by_role("alert")).to_contain_text(words)
    assert visit.page.locator("#said").inner_text() == "wrong.jpg: no answer."
    assert visit.rows == []
    assert (len(visit.predictions) == 2) is asks
    visit.choose()
    expect(visit.page.get_by_role("alert")).to_be_hidden()
    assert len(visit.rows) == 2
    # The browser itself notes every answer that is no success.
    visit.complaints = [told for told in visit.complaints if not re.search("40[0-9]|413", told)]


def test_a_server_that_is_gone_can_be_asked_again(visit: Visit) -> None:
    visit.page.context.set_offline(True)
    visit.choose()
    expect(visit.page.get_by_role("alert")).to_contain_text("The server does not answer")
    # The picture is there, without boxes.
    assert visit.colour_at(16, 16) == "#c8c8c8"
    visit.page.context.set_offline(False)
    visit.page.get_by_role("button", name="Try again").click()
    expect(visit.page.locator("#said")).to_have_text(FOUND)
    expect(visit.page.get_by_role("alert")).to_be_hidden()
    assert "ERR_INTERNET_DISCONNECTED" in visit.complaints.pop()


def test_it_waits_for_a_model_that_is_loading(browser: Browser, predictor: Running) -> None:
    visit = Visit(browser, predictor.url)
    words = {"error": "model: is not loaded yet; try again later"}
    visit.page.route(
        "**/page/config.json", lambda route: route.fulfill(status=503, json=words), times=1
    )
    visit.page.goto(predictor.url)
    expect(visit.page.locator("#state")).to_have_text("The server is not ready")
    expect(visit.page.locator("#state")).to_have_text("Ready")
    assert visit.page.locator("h1").inner_text() == NAME
    visit.page.context.close()


def test_what_a_browser_refuses_to_plain_http_is_said(
    playwright: Playwright, predictor: Running
) -> None:
    with chromium(playwright, "--host-resolver-rules=MAP predictor.test 127.0.0.1") as plain:
        visit = Visit(plain, f"http://predictor.test:{predictor.http_port}").go()
        expect(visit.page.get_by_role("button", name="Use the camera")).to_be_disabled()
        expect(visit.page.get_by_role("button", name="Paste")).to_be_disabled()
        expect(visit.page.locator("#told")).to_contain_text("only to https and to localhost")
        visit.choose()
        assert visit.rows == ["scratch 0.78", "pit: deep 0.30"]
        visit.leave()


def test_it_works_below_a_gateways_prefix(browser: Browser, predictor: Running) -> None:
    visit = Visit(browser, predictor.url, path="/vision/steel/")
    visit.page.context.route(
        "**/vision/steel/**",
        lambda route: route.continue_(url=route.request.url.replace("/vision/steel/", "/")),
    )
    visit.go().choose()
    assert visit.rows == ["scratch 0.78", "pit: deep 0.30"]
    assert f"/vision/steel/v1/models/{NAME}:predict" in (
        visit.page.locator("#command").text_content() or ""
    )
    visit.leave()


def test_a_picture_that_is_stored_on_its_side_is_shown_upright(visit: Visit) -> None:
    side = Image.new("RGB", (96, 64), "white")
    side.paste((0, 0, 0), (0, 0, 32, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # upright after a quarter turn clockwise: what is black lies on top
    buffer = io.BytesIO()
    side.save(buffer, "JPEG", exif=exif, quality=95)
    visit.choose(buffer.getvalue(), "phone.jpg")
    expect(visit.page.locator("#size")).to_have_text(f"64{TIMES}96")
    assert visit.colour_at(60, 4, size_wh=(64, 96)) == "#000000"
    assert visit.colour_at(60, 92, size_wh=(64, 96)) == "#ffffff"


def test_boxes_are_drawn_where_the_browser_cannot_show_the_picture(visit: Visit) -> None:
    visit.choose(encoded(kind="TIFF"), "scan.tiff")
    expect(visit.page.locator("#said")).to_contain_text("cannot show the picture itself")
    assert visit.colour_at(SCRATCH_XYXY[0], 16) == CLASS_COLOURS[0]


def test_sharp_on_a_dense_screen(browser: Browser, predictor: Running) -> None:
    size = {"width": PHONE, "height": 844}
    visit = Visit(browser, predictor.url, viewport=size, device_scale_factor=3).go()
    visit.choose()
    canvas = visit.page.locator("#picture")
    wide, shown = canvas.evaluate("e => [e.width, e.clientWidth]")
    assert wide == 3 * shown
    assert visit.colour_at(SCRATCH_XYXY[0], 16) == CLASS_COLOURS[0]
    # Turned on its side, it is drawn anew.
    visit.page.set_viewport_size({"width": 844, "height": PHONE})
    expect(canvas).not_to_have_js_property("width", wide)
    assert visit.colour_at(SCRATCH_XYXY[0], 16) == CLASS_COLOURS[0]
    visit.leave()


def test_nothing_runs_about_for_those_who_ask_for_calm(
    browser: Browser, predictor: Running
) -> None:
    moving = {}
    for wish in ("no-preference", "reduce"):
        visit = Visit(browser, predictor.url, reduced_motion=wish).go()
        moving[wish] = visit.page.eval_on_selector(
            "#working", "e => getComputedStyle(e).animationName"
        )
        visit.leave()
    assert moving == {"no-preference": "pass", "reduce": "none"}


def test_the_command_on_the_page_is_one(visit: Visit, tmp_path: Path) -> None:
    """Typed in a shell it gives what the page shows."""
    (tmp_path / "picture.jpg").write_bytes(JPEG)
    visit.page.locator("summary").click()
    typed = visit.page.locator("#command").inner_text()
    if not shutil.which("curl"):
        pytest.skip("no curl")
    done = subprocess.run(
        ["sh", "-c", typed], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert prediction["class_names"] == ["scratch", "pit: deep"]
