"""The small pictures of a run, as data URIs that a page can carry within itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup
from PIL import Image, UnidentifiedImageError


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A picture inside a page; `width` and `height` are its own, in pixels."""

    uri: Markup
    width: int
    height: int


class Exhibits:
    """Looks pictures up by name, as long as the page has room for them.

    Args:
        exhibits: Name -> JPEG or PNG.
        budget_bytes: Of all pictures of one page together; as base64 they grow by a third.
    """

    def __init__(self, exhibits: Mapping[str, bytes], *, budget_bytes: int) -> None:
        self._exhibits = exhibits
        self._left = budget_bytes

    def find(self, name: object) -> Embedded | None:
        """The picture, or None where it is missing, is no JPEG or PNG, or no longer fits."""
        data = self._exhibits.get(name) if isinstance(name, str) else None
        if data is None or len(data) > self._left:
            return None
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                (width, height), media_type = image.size, image.get_format_mimetype()
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            return None
        self._left -= len(data)
        # Base64 and the two media types hold nothing that HTML would read as markup.
        uri = Markup(f"data:{media_type};base64,{base64.b64encode(data).decode()}")
        return Embedded(uri=uri, width=width, height=height)
