"""What a training is asked to do, and so what its key is made of."""

from __future__ import annotations

import difflib
import math
from typing import Any, NamedTuple

from pydantic import Field

from yololine.errors import UsageError, YololineError, in_one
from yololine.frozen import Frozen

STRIDE_PIXELS = 32
"""Coarsest feature map's stride of every architecture listed: image sizes are its multiples."""

ONNX_OPSET = 17
"""Read by every ONNX Runtime since 1.12 and by OpenVINO and TensorRT of the same years."""

OPTIMIZERS = ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop")
CHOSEN_BY_AUTO = ("lr0", "momentum", "warmup_bias_lr")
"""What the optimizer `auto`, the default, sets by itself whatever a run asks for."""

UNLIMITED = math.inf


class Option(NamedTuple):
    """The values that an option takes: its types, and for numbers the least and the greatest."""

    types: tuple[type, ...]
    least: float = 0
    greatest: float = UNLIMITED


_FRACTION = Option((int, float), 0, 1)
_NUMBER = Option((int, float))
_COUNT = Option((int,))
_FROM_ONE = Option((int,), 1)
_SWITCH = Option((bool,))

OPTIONS: dict[str, Option] = {
    **dict.fromkeys(("lr0", "lrf", "momentum", "weight_decay"), _FRACTION),
    **dict.fromkeys(("warmup_momentum", "warmup_bias_lr", "cls_pw"), _FRACTION),
    **dict.fromkeys(("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "perspective"), _FRACTION),
    **dict.fromkeys(("flipud", "fliplr", "bgr", "mosaic", "mixup", "cutmix"), _FRACTION),
    "multi_scale": _FRACTION,
    **dict.fromkeys(("warmup_epochs", "box", "cls", "dfl"), _NUMBER),
    **dict.fromkeys(("degrees", "shear"), Option((int, float), 0, 180)),
    **dict.fromkeys(("patience", "close_mosaic"), _COUNT),
    "workers": Option((int,), 0, 128),
    **dict.fromkeys(("nbs", "max_det"), _FROM_ONE),
    **dict.fromkeys(("cos_lr", "rect", "amp", "cache"), _SWITCH),
    "optimizer": Option((str,)),
    "freeze": Option((int, list)),
}
"""Options of ultralytics' trainer that a run may set; it refuses other values itself, but only
once the images are there and the accelerator is taken.

Not among them is what `DECIDED` has: what yololine decides itself, what would write outside of the
step, and what would train another detector than the dataset describes.
"""

_OTHER_DETECTOR = "leave it out: the detector is that of the dataset"
_OWN_FILES = "leave it out: the step keeps what is needed, in the store"
DECIDED: dict[str, str] = {
    "batch": "use the parameter batch_size",
    "data": "use the parameter source_uri",
    "device": "use the parameters gpu_type and gpu_count",
    "epochs": "use the parameter epochs",
    "imgsz": "use the parameter image_size",
    "model": "use the parameter architecture",
    "pretrained": "use the parameters weights_uri and weights_sha256",
    "resume": "leave it out: the same run again goes on from its newest checkpoint",
    "seed": "use the parameter seed",
    "time": "use the parameter epochs",
    "val": "leave it out: each epoch is validated, to find the best",
    **dict.fromkeys(("classes", "fraction", "mode", "single_cls", "task"), _OTHER_DETECTOR),
    **dict.fromkeys(("exist_ok", "name", "plots", "project", "save", "save_dir"), _OWN_FILES),
    **dict.fromkeys(("save_json", "save_period"), _OWN_FILES),
    "deterministic": "leave it out: trainings are deterministic where the device allows it",
    "split": "use the parameters val_fraction and test_fraction",
}
"""What a run may not set as an option, and what to do instead."""

MOST_EPOCHS = 100_000
MOST_IMAGES_PER_BATCH = 65_536
"""Both beyond any use: a larger number is a slip, and would be met with only after hours."""
_KINDS = {
    int: "a whole number",
    bool: "true or false",
    str: "text",
    list: "a list of whole numbers",
}


class TrainingConfig(Frozen):
    """Everything that shapes the trained weights beside data and start weights."""

    epochs: int = Field(ge=1)
    image_size: int = Field(description="side of the square input, pixels")
    batch_size: int = Field(ge=1, description="images per batch, over all devices")
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
        raise in_one(faults)
    return TrainingConfig(
        epochs=epochs,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        options={
            name: _plain(value, OPTIONS[name].types) for name, value in sorted(options.items())
        },
    )


def config_faults(
    *, epochs: int, image_size: int, batch_size: int, seed: int, options: dict[str, Any]
) -> list[YololineError]:
    """Every fault of a configuration, without stopping at the first."""
    faults: list[YololineError] = []
    if not 1 <= epochs <= MOST_EPOCHS:
        rule = f"must be 1 to {MOST_EPOCHS}"
        faults.append(_fault("epochs", epochs, rule, "set it to 100 or so"))
    if image_size % STRIDE_PIXELS or not STRIDE_PIXELS <= image_size <= 4096:
        down = max(STRIDE_PIXELS, image_size // STRIDE_PIXELS * STRIDE_PIXELS)
        near = f"{down} or {down + STRIDE_PIXELS}" if 0 < image_size < 4096 else "for instance 640"
        faults.append(
            _fault("image_size", image_size, "must be a multiple of 32, 32 to 4096", f"use {near}")
        )
    if not 1 <= batch_size <= MOST_IMAGES_PER_BATCH:
        rule = f"must be 1 to {MOST_IMAGES_PER_BATCH}"
        faults.append(_fault("batch_size", batch_size, rule, "set it to 16 or so"))
    if not 0 <= seed < 2**31:
        faults.append(_fault("seed", seed, "must be 0 to 2147483647", "choose another seed"))
    for name, value in options.items():
        fault = _option_fault(name, value)
        if fault:
            faults.append(fault)
    if options.get("optimizer", "auto") == "auto":
        for name in CHOSEN_BY_AUTO:
            if name in options:
                faults.append(
                    _fault(
                        f"train_options[{name!r}]",
                        options[name],
                        "has no effect: the optimizer 'auto' chooses it",
                        "set optimizer too, for instance to 'AdamW'; or leave both out",
                    )
                )
    return faults


def _option_fault(name: str, value: Any) -> YololineError | None:
    label = f"train_options[{name!r}]"
    if name in DECIDED:
        return _fault(label, value, "is no option: the line decides it", DECIDED[name])
    if name not in OPTIONS:
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return _fault(
            label,
            value,
            "is not an option of the trainer",
            f"{hint}Known: {', '.join(sorted(OPTIONS))}",
        )
    option = OPTIONS[name]
    try:
        plain = _plain(value, option.types)
    except (TypeError, OverflowError):
        kinds = ["a number"] if float in option.types else [_KINDS[kind] for kind in option.types]
        wanted = " or ".join(kinds)
        return _fault(label, value, f"must be {wanted}", f"give {wanted}")
    if isinstance(plain, str):
        if plain in OPTIMIZERS:
            return None
        named = {optimizer.lower(): optimizer for optimizer in OPTIMIZERS}
        near = difflib.get_close_matches(plain.lower(), named, n=1)
        hint = f"did you mean {named[near[0]]!r}? " if near else ""
        return _fault(label, value, "is no optimizer", f"{hint}Known: {', '.join(OPTIMIZERS)}")
    numbers = plain if isinstance(plain, list) else [plain]
    # NaN is in no range.
    if all(option.least <= number <= option.greatest for number in numbers) and all(
        math.isfinite(number) for number in numbers
    ):
        return None
    limits = (
        f"at least {option.least:g}"
        if option.greatest == UNLIMITED
        else f"{option.least:g} to {option.greatest:g}"
    )
    return _fault(label, value, f"must be {limits}", f"give a number, {limits}")


def _plain(value: Any, types: tuple[type, ...]) -> Any:
    """The value in one of the types: JSON through KFP makes 3 out of 3.0 and the reverse."""
    if isinstance(value, bool):
        if bool in types:
            return value
        raise TypeError(value)
    if isinstance(value, list) and list in types:
        return [_plain(item, (int,)) for item in value]
    if isinstance(value, float) and float not in types and int in types and value.is_integer():
        return int(value)
    if isinstance(value, int) and float in types:
        return float(value)
    if isinstance(value, types):
        return value
    raise TypeError(value)


def _fault(name: str, value: Any, rule: str, remedy: str) -> UsageError:
    return UsageError(f"{name}={value!r}", rule=rule, remedy=remedy)
