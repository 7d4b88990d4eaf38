from __future__ import annotations

from typing import Any

import pytest

from yololine.detector.config import DECIDED, OPTIMIZERS, OPTIONS, config_faults, training_config
from yololine.errors import Faults, UsageError

GOOD: dict[str, Any] = {
    "epochs": 100,
    "image_size": 640,
    "batch_size": 16,
    "seed": 0,
    "options": {},
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, "epochs=0: must be 1 to 100000; set it to 100 or so"),
        ("epochs", -3, "epochs=-3: must be 1 to 100000"),
        ("epochs", 10**18, "must be 1 to 100000"),
        ("image_size", 100, "image_size=100: must be a multiple of 32, 32 to 4096; use 96 or 128"),
        ("image_size", 10, "use 32 or 64"),
        ("image_size", 0, "image_size=0: .*; use for instance 640"),
        ("image_size", 4095, "use 4064 or 4096"),
        ("image_size", 8192, "use for instance 640"),
        ("batch_size", 0, "batch_size=0: must be 1 to 65536; set it to 16 or so"),
        ("batch_size", 10**9, "must be 1 to 65536"),
        ("seed", -1, "seed=-1: must be 0 to 2147483647"),
        ("seed", 2**31, "seed=2147483648: must be"),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, value: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        training_config(**{**GOOD, name: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"mosiac": 0.5},
            r"train_options\['mosiac'\]=0.5: is not an option .*; did you mean 'mosaic'",
        ),
        ({"banana": 1}, r"is not an option of the trainer; Known: amp, bgr, "),
        ({"epochs": 3}, "is no option: the line decides it; use the parameter epochs"),
        ({"single_cls": True}, "is no option: the line decides it; leave it out: the detector"),
        ({"project": "/tmp"}, "is no option: the line decides it; leave it out: the step keeps"),
        ({"mosaic": 10**400}, "must be a number; give a number"),
        ({"workers": 1000}, "must be 0 to 128"),
        ({"lrf": float("nan")}, r"train_options\['lrf'\]=nan: must be 0 to 1"),
        ({"box": float("inf")}, r"train_options\['box'\]=inf: must be at least 0"),
        ({"mosaic": 50}, r"train_options\['mosaic'\]=50: must be 0 to 1"),
        ({"mosaic": -0.1}, "must be 0 to 1"),
        ({"mosaic": "0.5"}, r"train_options\['mosaic'\]='0.5': must be a number"),
        ({"mosaic": True}, r"train_options\['mosaic'\]=True: must be a number"),
        ({"mosaic": None}, r"train_options\['mosaic'\]=None: must be a number"),
        ({"patience": 2.5}, r"train_options\['patience'\]=2.5: must be a whole number; "),
        ({"patience": -1}, "must be at least 0"),
        ({"nbs": 0}, "must be at least 1"),
        ({"cos_lr": 1}, r"train_options\['cos_lr'\]=1: must be true or false"),
        (
            {"optimizer": "adamw"},
            r"'adamw': is no optimizer; did you mean 'AdamW'\? Known: auto, SGD",
        ),
        ({"optimizer": 3}, r"train_options\['optimizer'\]=3: must be text"),
        (
            {"freeze": [1, "a"]},
            r"\['freeze'\]=\[1, 'a'\]: must be a whole number or a list of whole numbers",
        ),
        ({"freeze": [1.5]}, "must be a whole number or a list of whole numbers"),
        ({"freeze": -1}, "must be at least 0"),
        (
            {"lr0": 0.01},
            r"train_options\['lr0'\]=0.01: has no effect: the optimizer 'auto' .*'AdamW'",
        ),
        ({"lr0": 0.01, "optimizer": "auto"}, "has no effect"),
        ({"momentum": 0.9}, "has no effect"),
    ],
)
def test_options_are_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        training_config(**{**GOOD, "options": options})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        # KFP's structs know floats alone, and a notebook writes what it likes.
        ({"patience": 3.0, "nbs": 64.0}, {"nbs": 64, "patience": 3}),
        ({"mosaic": 1, "degrees": 10}, {"degrees": 10.0, "mosaic": 1.0}),
        ({"freeze": 10.0}, {"freeze": 10}),
        ({"freeze": [0.0, 1.0, 22]}, {"freeze": [0, 1, 22]}),
        ({"optimizer": "SGD", "lr0": 1}, {"lr0": 1.0, "optimizer": "SGD"}),
        ({"cos_lr": True, "amp": False}, {"amp": False, "cos_lr": True}),
    ],
)
def test_equal_options_are_kept_in_one_form(given: dict[str, Any], kept: dict[str, Any]) -> None:
    options = training_config(**{**GOOD, "options": given}).options
    assert repr(options) == repr(kept)


def test_all_faults_are_named_together() -> None:
    with pytest.raises(Faults, match=r"^4 faults") as raised:
        training_config(
            epochs=0, image_size=100, batch_size=16, seed=0, options={"lrO": 1, "box": -1}
        )
    assert len(raised.value.faults) == 4
    assert config_faults(**GOOD) == []


def test_this_ultralytics_takes_what_is_offered() -> None:
    """Every option by its name, its least and its greatest value, as its own check has it."""
    from yololine.detector import ultralytics as _  # noqa: F401

    from ultralytics.cfg import DEFAULT_CFG_DICT, check_cfg  # isort: skip

    assert DECIDED.keys() <= DEFAULT_CFG_DICT.keys() | {"save_dir"}
    assert not DECIDED.keys() & OPTIONS.keys()
    for name, option in OPTIONS.items():
        assert name in DEFAULT_CFG_DICT
        if name in {"optimizer", "freeze"} or bool in option.types:
            continue
        kind = option.types[-1]
        check_cfg({name: kind(option.least)})
        if option.greatest == 1:
            check_cfg({name: 1.0})
            with pytest.raises(ValueError, match=name):
                check_cfg({name: 1.1})


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"auto"}))
def test_this_ultralytics_has_the_optimizers(name: str) -> None:
    import torch

    from yololine.detector import ultralytics as _  # noqa: F401

    from ultralytics.optim import MuSGD  # isort: skip

    assert MuSGD if name == "MuSGD" else getattr(torch.optim, name)
