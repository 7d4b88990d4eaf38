"""What a training is asked to do, and so what its key is made of."""

from __future__ import annotations

import difflib
import math
from typing import Any

from pydantic import Field

from yololine.errors import UsageError, YololineError
from yololine.frozen import Frozen

STRIDE_PIXELS = 32
"""Coarsest feature map's stride of every architecture listed: image sizes are its multiples."""

ONNX_OPSET = 17
"""Read by every ONNX Runtime since 1.12 and by OpenVINO and TensorRT of the same years."""

OPTIONS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("lr0", "lrf", "momentum", "weight_decay"), (int, float)),
    **dict.fromkeys(("warmup_epochs", "warmup_momentum", "warmup_bias_lr"), (int, float)),
    **dict.fromkeys(("box", "cls", "dfl", "cls_pw"), (int, float)),
    **dict.fromkeys(("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale"), (int, float)),
    **dict.fromkeys(("shear", "perspective", "flipud", "fliplr", "bgr"), (int, float)),
    **dict.fromkeys(("mosaic", "mixup", "cutmix", "multi_scale"), (int, float)),
    **dict.fromkeys(("patience", "close_mosaic", "nbs", "workers", "max_det"), (int,)),
    **dict.fromkeys(("cos_lr", "rect", "single_cls", "amp", "cache"), (bool,)),
    "optimizer": (str,),
    "freeze": (int, list),
}
"""Options of ultralytics' trainer that a run may set, with their types.

Not among them is what yololine decides itself (data, epochs, imgsz, batch, seed, device, project,
resume) and what would write outside of the step (plots, save_json).
"""


class TrainingConfig(Frozen):
    """Everything that shapes the trained weights beside data and start weights."""

    epochs: int = Field(ge=1)
    image_size: int = Field(description="side of the square input, pixels")
    batch_size: int = Field(ge=1, description="images per optimizer batch, over all devices")
    seed: int = 0
    options: dict[str, Any] = Field(default_factory=dict)


def training_config(
    *, epochs: int, image_size: int, batch_size: int, seed: int, options: dict[str, Any]
) -> TrainingConfig:
    """A checked configuration.

    Args:
        epochs: Passes over the train split, at least 1.
        image_size: Side of the square input in pixels, a multiple of 32, 32 to 4096.
        batch_size: Images per batch, at least 1.
        seed: 0 to 2**31 - 1.
        options: Names and values of `OPTIONS`.

    Raises:
        UsageError: Something is out of range; all faults are named together (`Faults`).
    """
    faults = config_faults(
        epochs=epochs, image_size=image_size, batch_size=batch_size, seed=seed, options=options
    )
    if faults:
        from yololine.errors import Faults

        raise faults[0] if len(faults) == 1 else Faults(faults)
    return TrainingConfig(
        epochs=epochs,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        options={name: _plain(value, OPTIONS[name]) for name, value in sorted(options.items())},
    )


def config_faults(
    *, epochs: int, image_size: int, batch_size: int, seed: int, options: dict[str, Any]
) -> list[YololineError]:
    """Every fault of a configuration, without stopping at the first."""
    faults: list[YololineError] = []
    if epochs < 1:
        faults.append(_fault("epochs", epochs, "must be at least 1", "set epochs to 1 or more"))
    if image_size % STRIDE_PIXELS or not STRIDE_PIXELS <= image_size <= 4096:
        down = max(STRIDE_PIXELS, image_size // STRIDE_PIXELS * STRIDE_PIXELS)
        near = f"{down} or {down + STRIDE_PIXELS}" if 0 < image_size < 4096 else "for instance 640"
        faults.append(
            _fault("image_size", image_size, "must be a multiple of 32, 32 to 4096", f"use {near}")
        )
    if batch_size < 1:
        faults.append(_fault("batch_size", batch_size, "must be at least 1", "set it to 1 or more"))
    if not 0 <= seed < 2**31:
        faults.append(_fault("seed", seed, "must be 0 to 2147483647", "choose another seed"))
    for name, value in options.items():
        fault = _option_fault(name, value)
        if fault:
            faults.append(fault)
    return faults


def _option_fault(name: str, value: Any) -> YololineError | None:
    if name not in OPTIONS:
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return _fault(
            f"train_options[{name!r}]",
            value,
            "is not an option of the trainer",
            f"{hint}Known: {', '.join(sorted(OPTIONS))}",
        )
    types = OPTIONS[name]
    wanted = " or ".join(kind.__name__ for kind in types)
    try:
        plain = _plain(value, types)
    except (TypeError, ValueError):
        plain = None
    if plain is None or (isinstance(plain, float) and not math.isfinite(plain)):
        return _fault(
            f"train_options[{name!r}]", value, f"must be {wanted}", f"give a value of type {wanted}"
        )
    return None


def _plain(value: Any, types: tuple[type, ...]) -> Any:
    """The value in one of the types: JSON through KFP makes 3 out of 3.0 and the reverse."""
    if isinstance(value, bool):
        if bool in types:
            return value
        raise TypeError(value)
    if isinstance(value, float) and float not in types and int in types and value.is_integer():
        return int(value)
    if isinstance(value, int) and float in types:
        return float(value)
    if isinstance(value, types):
        return value
    raise TypeError(value)


def _fault(name: str, value: Any, rule: str, remedy: str) -> UsageError:
    return UsageError(f"{name}={value!r}", rule=rule, remedy=remedy)
