"""The pages in a real browser: at every width, in both schemes, by keyboard, on paper."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.chromium import chromium, overflow
from tests.reporting.conftest import (
    Run,
    failed_run,
    many_run,
    retried_run,
    reused_run,
    succeeded_run,
    terminated_run,
)
from yololine.reporting.pages import render_run_report, render_step_page
from yololine.telemetry.records import StepState
from yololine.telemetry.runs import RunState

RUNS: dict[str, Callable[[], Run]] = {
    "succeeded": succeeded_run,
    "failed": failed_run,
    "terminated": terminated_run,
    "reused": reused_run,
    "retried": retried_run,
    "many": many_run,
}
PHONE, FRAME, DESK, WALL = 390, 760, 1280, 1920
"""Widths in CSS pixels; a frame is what the pipelines UI gives a page."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright, chromium(playwright) as started:
        yield started


class Drawn:
    """A page that the browser draws, and what it complained of."""

    def __init__(self, browser: Browser, file: Path, text: str, **context: Any) -> None:
        """Draw it."""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_context(**context).new_page()
        self.page.on("console", lambda told: self.complaints.append(told.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.show(file, text)

    def show(self, file: Path, text: str) -> None:
        """Draw another page in its place."""
        file.write_text(text, encoding="utf-8")
        self.page.goto(file.as_uri())
        self.requests.remove(file.as_uri())

    def overflow(self, width: int) -> list[str]:
        """What reaches out of the window at this width, so that one would scroll sideways."""
        self.page.set_viewport_size({"width": width, "height": 900})
        return overflow(self.page)

    def style(self, selector: str, name: str) -> str:
        """A computed style."""
        found: str = self.page.eval_on_selector(
            selector, f"e => getComputedStyle(e).getPropertyValue('{name}')"
        )
        return found


def _report(run: Run) -> str:
    return render_run_report(**run.arguments())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", RUNS)
def test_a_report_is_drawn_at_every_width(
    browser: Browser, tmp_path: Path, name: str, scheme: str
) -> None:
    drawn = Drawn(browser, tmp_path / "page.html", _report(RUNS[name]()), color_scheme=scheme)
    drawn.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for width in (PHONE, FRAME, DESK, WALL):
        assert drawn.overflow(width) == []
    assert (drawn.complaints, drawn.requests) == ([], [])
    assert drawn.style("body", "background-color") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(15, 17, 21)"
    )
    small: list[str] = drawn.page.evaluate(
        """() => [...document.querySelectorAll("body *")]
          .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
          .filter((e) => !e.closest("script, style, svg"))
          .filter((e) => parseFloat(getComputedStyle(e).fontSize) < 10.5)
          .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert small == []
    drawn.page.context.close()


def test_every_step_page_is_drawn_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    drawn = Drawn(browser, tmp_path / "page.html", "<!doctype html><title>none</title>")
    for run in (succeeded_run(), failed_run(), many_run()):
        for record in run.records.values():
            if run.state is RunState.FAILED and record.state is StepState.DONE:
                continue
            drawn.show(tmp_path / "page.html", render_step_page(record, run.exhibits))
            assert drawn.overflow(PHONE) == [], record.step
            assert (drawn.complaints, drawn.requests) == ([], [])
    drawn.page.context.close()


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("succeeded", "light"), ("succeeded", "dark"), ("failed", "dark"), ("retried", "light")],
)
def test_a_report_is_accessible(browser: Browser, tmp_path: Path, name: str, scheme: str) -> None:
    drawn = Drawn(browser, tmp_path / "page.html", _report(RUNS[name]()), color_scheme=scheme)
    drawn.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = Axe().run(drawn.page)
    assert found.violations_count == 0, found.generate_report()
    drawn.page.context.close()


def test_the_pages_of_steps_are_accessible(browser: Browser, tmp_path: Path) -> None:
    run = succeeded_run()
    for step in ("clean_dataset", "evaluate_detector", "decide_promotion"):
        page = render_step_page(run.records[step], run.exhibits)
        drawn = Drawn(browser, tmp_path / "page.html", page)
        found = Axe().run(drawn.page)
        assert found.violations_count == 0, found.generate_report()
        drawn.page.context.close()


def test_the_keyboard_reaches_the_content_pictures_and_details(
    browser: Browser, tmp_path: Path
) -> None:
    drawn = Drawn(browser, tmp_path / "page.html", _report(succeeded_run()))
    keyboard, page = drawn.page.keyboard, drawn.page
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") > 0
    keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    second = page.locator(".examples figure").nth(1)
    narrow = second.bounding_box()["width"]  # type: ignore[index]
    second.locator("input").focus()
    keyboard.press("Space")
    assert second.bounding_box()["width"] > 1.5 * narrow  # type: ignore[index]
    page.locator("summary").first.focus()
    keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.get_by_role("link", name="Training").first.click()
    assert page.evaluate("document.activeElement.id") == "train_detector"
    page.context.close()


def test_names_of_boxes_are_read_where_there_is_room(browser: Browser, tmp_path: Path) -> None:
    drawn = Drawn(browser, tmp_path / "page.html", _report(succeeded_run()))
    for width in (PHONE, DESK):
        drawn.overflow(width)
        figures = drawn.page.locator("#evaluate_detector .examples figure")
        names = figures.first.locator("b")
        assert names.count() > 3
        assert all(name.is_visible() for name in names.all())
        # The small ones show colours alone, and are enlarged on request.
        assert not figures.nth(1).locator("b").first.is_visible()
    drawn.page.context.close()


def test_the_pipelines_ui_shows_it_in_its_frame(browser: Browser, tmp_path: Path) -> None:
    """As KFP 2.17 does: the source of a sandboxed frame, which has no address of its own."""
    frame = '<iframe sandbox="allow-scripts" style="width:100%;height:90vh" srcdoc="{}"></iframe>'
    page = _report(failed_run())
    drawn = Drawn(
        browser,
        tmp_path / "ui.html",
        f"<!doctype html><title>UI</title>{frame.format(html.escape(page))}",
        viewport={"width": FRAME, "height": 900},
    )
    inside = drawn.page.frames[1]
    inside.get_by_role("link", name="Cleaning").first.click()
    assert inside.evaluate("document.activeElement.id") == "clean_dataset"
    assert inside.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert drawn.complaints == []
    assert [url for url in drawn.requests if not url.startswith(("about:", "data:"))] == []
    drawn.page.context.close()


def test_it_needs_no_script(browser: Browser, tmp_path: Path) -> None:
    drawn = Drawn(browser, tmp_path / "page.html", _report(failed_run()), java_script_enabled=False)
    assert drawn.page.get_by_role("heading", name="Failed at step 8 of 12: Train").is_visible()
    # A button that would do nothing is not shown.
    assert not drawn.page.locator("[data-copy]").is_visible()
    drawn.page.locator("summary").first.click()
    assert drawn.page.locator("details[open]").count() == 1
    drawn.page.context.close()


def test_paper_is_white_and_holds_everything(browser: Browser, tmp_path: Path) -> None:
    drawn = Drawn(browser, tmp_path / "page.html", _report(succeeded_run()), color_scheme="dark")
    drawn.page.emulate_media(media="print")
    assert drawn.style("body", "background-color") == "rgb(255, 255, 255)"
    assert drawn.style("body", "color") == "rgb(26, 28, 34)"
    assert drawn.style(".nav", "display") == "none"
    assert drawn.page.locator("#parameters table").is_visible()
    assert drawn.page.pdf(format="A4").startswith(b"%PDF")
    drawn.page.context.close()
