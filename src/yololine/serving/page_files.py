"""The page for people: its files, read once."""

from __future__ import annotations

from importlib.resources import files

_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".ico": b"image/x-icon",
    ".webp": b"image/webp",
    ".woff2": b"font/woff2",
    ".json": b"application/json",
}
PAGE_HEADERS = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
            b"media-src 'self' blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
            b"form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cache-control", b"no-cache"),
)
"""Nothing from elsewhere, nothing inline, in nobody's frame."""

PAGE_CONFIG = "/page/config.json"
"""No file: what the page asks of its model."""

PageFiles = dict[str, tuple[bytes, bytes]]
"""Content type and bytes by path: `/`, `/page/page.js`."""


def read_page() -> PageFiles:
    """The files beside this one in `page/`."""
    folder = files("yololine.serving") / "page"
    found: PageFiles = {}
    if not folder.is_dir():
        return found
    for file in folder.iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if file.is_file() and suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            found[path] = (_TYPES[suffix], file.read_bytes())
    return found
