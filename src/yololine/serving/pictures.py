"""The limits of what is sent, held before anything is decoded."""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from yololine.errors import UsageError
from yololine.inference.decoding import probe
from yololine.serving.refusals import BadRequest, TooLarge, in_words
from yololine.serving.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of pictures in a request."""

    max_image_bytes: int
    max_pixels: int
    max_batch_images: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the server's settings."""
        return cls(
            max_image_bytes=settings.max_image_bytes,
            max_pixels=settings.max_pixels,
            max_batch_images=settings.max_batch_images,
        )

    def check_count(self, pictures: int) -> None:
        """Hold the number of a request's pictures against the limit.

        Raises:
            BadRequest: There is none.
            TooLarge: There are too many.
        """
        if pictures < 1:
            raise BadRequest("0 pictures: a request holds at least one; add it")
        if pictures > self.max_batch_images:
            raise TooLarge(
                f"{pictures} pictures: at most {self.max_batch_images} in one request; send more "
                "requests"
            )

    def check_bytes(self, size_bytes: int) -> None:
        """Hold an encoded picture's size against the limit.

        Raises:
            BadRequest: It is empty.
            TooLarge: It is too large.
        """
        if not size_bytes:
            raise BadRequest("picture: has 0 bytes; send a JPEG, PNG, WebP, BMP or TIFF file")
        if size_bytes > self.max_image_bytes:
            raise TooLarge(
                f"picture of {size_bytes} bytes: at most {self.max_image_bytes}; compress it "
                "more, or start the server with a larger --max-image-bytes"
            )

    def check_pixels(self, width: int, height: int) -> None:
        """Hold a picture's size in pixels against the limit.

        Raises:
            TooLarge: It is too large.
        """
        if width * height > self.max_pixels:
            raise TooLarge(
                f"picture of {width}x{height} pixels: at most {self.max_pixels} pixels; scale it "
                "down, or start the server with a larger --max-pixels"
            )

    def check_header(self, image: bytes) -> int:
        """The pixels a picture will decode to, if its header claims no more than the limit.

        Raises:
            BadRequest: It is no picture.
            TooLarge: It would be too large.
        """
        try:
            header = probe(image)
        except UsageError as error:
            raise in_words(error) from error
        self.check_pixels(header.width, header.height)
        return header.width * header.height

    def from_base64(self, text: object, where: str) -> bytes:
        """An encoded picture that came as base64.

        Raises:
            BadRequest: It is no base64.
            TooLarge: It would be too large.
        """
        if not isinstance(text, str):
            raise BadRequest(f"{where}: must be base64 text; encode the picture's file")
        # Before it is decoded: three bytes for four characters.
        self.check_bytes(len(text) * 3 // 4)
        try:
            data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
        except (binascii.Error, UnicodeEncodeError, ValueError):
            raise BadRequest(
                f"{where}: is no base64 without line breaks; encode the picture's file"
            ) from None
        self.check_bytes(len(data))
        return data
