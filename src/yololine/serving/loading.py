"""A registered version from a folder, verified before anything of it is loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np

from yololine.inference.detector import Detector
from yololine.inference.engine import load_engine
from yololine.registry.versions import MODEL, Version, open_folder
from yololine.serving.logs import event
from yololine.serving.settings import Settings

_WARM_UPS = 2
"""Runs of each stream: the first of all allocates, and finds its kernels."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A version that is ready to serve."""

    version: Version
    detector: Detector


def load(settings: Settings) -> Loaded:
    """Verify the version's files, load its model and run it a few times.

    Raises:
        RegistryError: The folder holds no version, or a file is not the registered one.
        EvaluationError: The model cannot be run.
        UsageError: The engine is not there.
    """
    started = time.monotonic()
    # A picture is one thread's work. OpenCV would start one for each of the host's cores, whatever
    # the container may use.
    cv2.setNumThreads(1)
    version = open_folder(settings.model_dir)
    verified = time.monotonic()
    engine = load_engine(
        settings.model_dir / MODEL,
        image_size=version.image_size,
        class_count=len(version.class_names),
        engine=settings.engine,
        streams=settings.streams,
        # As evaluated: what was gated is what answers.
        precision=version.precision,
    )
    detector = Detector(engine, version.class_names)
    loaded = time.monotonic()
    # A square is every engine's largest input; 4:3 is what most cameras give.
    side = version.image_size
    for height in {side, side * 3 // 4}:
        ready = detector.prepare(np.zeros((height, side, 3), np.uint8))
        for _ in range(_WARM_UPS * engine.streams):
            detector.detect([ready], min_score=0.25)
    event(
        "model loaded",
        model=version.name,
        version=version.version,
        engine=engine.name,
        device=engine.device,
        precision=engine.precision,
        streams=engine.streams,
        verify_seconds=round(verified - started, 3),
        load_seconds=round(loaded - verified, 3),
        warm_up_seconds=round(time.monotonic() - loaded, 3),
    )
    return Loaded(version=version, detector=detector)
