"""The command of the predictor's container.

Each option may be given as a variable too: --queue-length is YOLOLINE_SERVING_QUEUE_LENGTH. As
KServe's runtimes write them, with underscores, they are taken as well: --model_name, --http_port.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from yololine.errors import YololineError
from yololine.serving.settings import Settings, settings

_VARIABLES = "YOLOLINE_SERVING"
_HELP = {
    "model_dir": "Folder of a registered version.",
    "model_name": "Name in URLs. [default: the version's]",
    "host": "Address to listen on.",
    "http_port": "0 takes a free one.",
    "grpc_port": "0 takes a free one.",
    "engine": "auto, openvino or onnxruntime.",
    "streams": "Inferences at once. [default: the engine's]",
    "max_batch": "Pictures in one inference. [default: the engine's]",
    "max_wait_ms": "How long an inference waits for more pictures.",
    "max_image_bytes": "Of one encoded picture.",
    "max_body_bytes": "Of one request.",
    "max_bytes_in_flight": "Of all requests at once.",
    "max_pixels": "Of one decoded picture.",
    "max_batch_images": "Pictures in one request.",
    "queue_length": "Pictures that may wait.",
    "deadline_seconds": "For an answer; a request may ask for less.",
    "drain_seconds": "Still answering after SIGTERM, while endpoints are taken out.",
    "grace_seconds": "For what has come in, after that.",
    "min_score": "Where a request says none.",
    "iou_threshold": "Where a request says none.",
    "max_detections": "Where a request says none.",
    "log_level": "DEBUG, INFO, WARNING or ERROR.",
}


def _options() -> list[click.Parameter]:
    made: list[click.Parameter] = []
    for name, field in Settings.model_fields.items():
        default = None if field.is_required() else field.default
        kinds = (int, float, str)
        kind = next((kind for kind in kinds if str(kind.__name__) in str(field.annotation)), Path)
        made.append(
            click.Option(
                [f"--{name.replace('_', '-')}", name],
                type=click.Path(path_type=Path) if kind is Path else kind,
                default=Path("/mnt/models") if field.is_required() else default,
                show_default=default is not None or field.is_required(),
                help=_HELP[name],
            )
        )
    made.append(click.Option(["--enable-grpc"], type=bool, default=True, help="Serve gRPC."))
    # kserve's own argument; more processes would each load the model, more replicas are better.
    made.append(click.Option(["--workers"], type=click.IntRange(1, 1), default=1, hidden=True))
    return made


def _serve(enable_grpc: bool, workers: int, **given: Any) -> None:  # noqa: ARG001
    from yololine.serving.server import serve

    if not enable_grpc:
        given["grpc_port"] = None
    serve(settings(**given))


COMMAND = click.Command(
    "yololine.serving",
    callback=_serve,
    params=_options(),
    help="Serve a registered version over KServe's protocols.",
    context_settings={
        "auto_envvar_prefix": _VARIABLES,
        "max_content_width": 100,
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
)


def main() -> None:
    """The entry point: refusals in words, with the exit code of their kind."""
    try:
        COMMAND(prog_name="python -m yololine.serving")
    except YololineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
