"""What a predictor is told at its start, limits included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from yololine.errors import UsageError
from yololine.frozen import Frozen


class Settings(Frozen):
    """Everything about one predictor; each field is an option of the command."""

    model_dir: Path
    """Folder of a registered version: manifest.json and the files it names."""
    model_name: str | None = None
    """The name in URLs; None is the version's own."""

    host: str = "0.0.0.0"
    http_port: int = Field(8080, ge=0, le=65535)
    """0 takes a free one."""
    grpc_port: int | None = Field(8081, ge=0, le=65535)
    """None serves no gRPC."""

    engine: str = "auto"
    streams: int | None = Field(None, ge=1, le=64)
    """Inferences at once; None leaves it to the engine."""
    max_batch: int | None = Field(None, ge=1, le=256)
    """Pictures in one inference; None leaves it to the engine."""
    max_wait_ms: float = Field(2.0, ge=0, le=1000)
    """How long an inference waits for more pictures where it takes more than one."""

    max_image_bytes: int = Field(20 * 2**20, ge=1)
    """Of one encoded picture."""
    max_body_bytes: int = Field(64 * 2**20, ge=1)
    """Of one request, whatever is in it."""
    max_bytes_in_flight: int = Field(512 * 2**20, ge=1)
    """Of all requests that are being read or wait."""
    max_pixels: int = Field(100_000_000, ge=1)
    """Of one decoded picture: a file of a few kilobytes may claim gigabytes."""
    max_batch_images: int = Field(32, ge=1)
    """Pictures in one request."""
    queue_length: int = Field(64, ge=1)
    """Pictures that wait, beside those in work."""
    deadline_seconds: float = Field(30.0, gt=0, le=3600)
    """A request may ask for less."""

    drain_seconds: float = Field(5.0, ge=0, le=600)
    """After SIGTERM: not ready any more, but still answering, while endpoints are taken out."""
    grace_seconds: float = Field(30.0, ge=0, le=600)
    """Then: how long what has come in may take."""

    min_score: float = Field(0.25, ge=0, le=1)
    """Where a request says none; so are the next two."""
    iou_threshold: float = Field(0.5, ge=0, le=1)
    max_detections: int = Field(300, ge=1, le=300)

    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _a_full_request_fits(self) -> Settings:
        if self.max_batch_images > self.queue_length:
            raise ValueError(
                f"max_batch_images={self.max_batch_images} is more than "
                f"queue_length={self.queue_length}, so such a request could never be taken"
            )
        return self


def settings(**given: Any) -> Settings:
    """Settings, by the names of their fields.

    Raises:
        UsageError: One is out of its range.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(map(str, fault["loc"])) or "settings"
        shown = f"{name}={fault['input']!r}" if fault["loc"] else name
        raise UsageError(
            shown, rule=str(fault["msg"]).removeprefix("Value error, "), remedy="change it"
        ) from error
