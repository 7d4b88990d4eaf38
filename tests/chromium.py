"""The system's Chromium, for the tests that draw pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, Playwright

from tests.conftest import _unavailable

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")


@contextmanager
def chromium(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    """A browser; where there is none, the test is skipped, and fails in CI."""
    program = os.environ.get("YOLOLINE_CHROMIUM") or next(
        filter(None, map(shutil.which, PROGRAMS)), ""
    )
    if not program:
        _unavailable("no Chromium: install it (Debian: chromium), or set YOLOLINE_CHROMIUM")
    browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *flags])
    yield browser
    browser.close()


def overflow(page: Page) -> list[str]:
    """What reaches out of the window, so that one would scroll sideways."""
    found: list[str] = page.evaluate(
        """() => {
          const room = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= room) return [];
          return [...document.querySelectorAll("body *")]
            .filter((e) => e.getBoundingClientRect().right > room + 1)
            .map((e) => e.outerHTML.slice(0, 80)).slice(0, 5);
        }"""
    )
    return found
