"""A run of the whole line as its journal tells it, with pictures, and runs that went otherwise."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from yololine.reporting.pictures import draw_boxes, thumbnail, to_jpeg
from yololine.telemetry.endings import Continuation
from yololine.telemetry.records import STEPS, EpochProgress, ErrorRecord, StepRecord, StepState
from yololine.telemetry.runs import RunState

RUN_ID = "7c1e4b52-9a53-4f0e-b1f7-5a2f0c9d1e77"
EARLIER_RUN_ID = "2f6d0a9b-41c8-4e67-8a1d-0b7c3e5f9a10"
STARTED = datetime(2025, 5, 3, 2, 0, tzinfo=UTC)
CLASSES = ("scratch", "dent", "rust", "crack")

# Offset from the run's start and duration, seconds.
TIMES = {
    "preflight": (0, 2.1),
    "resolve_source": (21, 3.4),
    "clean_dataset": (44, 74),
    "split_dataset": (138, 6.2),
    "augment_dataset": (164, 48),
    "prepare_weights": (164, 9.5),
    "build_test_set": (164, 7.7),
    "train_detector": (232, 1312),
    "export_detector": (1564, 38),
    "evaluate_detector": (1622, 66),
    "decide_promotion": (1708, 0.8),
    "register_model": (1728, 5.1),
    "deploy_model": (1765, 96),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """The arguments of a report."""

    state: RunState
    records: dict[str, StepRecord]
    exhibits: dict[str, bytes]
    error: ErrorRecord | None = None
    go_on: Continuation | None = None
    run_id: str = RUN_ID
    model_name: str = "strip-defects"

    def arguments(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "model_name": self.model_name,
            "state": self.state,
            "error": self.error,
            "records": self.records,
            "exhibits": self.exhibits,
            "go_on": self.go_on,
        }


def digest(name: str) -> str:
    return "".join(f"{(ord(name[i % len(name)]) * 7919 + i * 104729) % 256:02x}" for i in range(32))


def epochs(count: int = 60) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, count + 1):
        gain = 1 - math.exp(-epoch / 14)
        wobble = 0.02 * math.sin(epoch * 1.7) + 0.012 * math.sin(epoch * 4.1)
        late = max(epoch - 44, 0) * 0.0015
        rows.append(
            EpochProgress(
                epoch=epoch,
                epochs=60,
                box_loss=2.1 - 1.3 * gain + wobble,
                cls_loss=3.2 - 2.6 * gain + wobble * 2,
                dfl_loss=1.6 - 0.6 * gain + wobble / 2,
                val_box_loss=2.2 - 1.15 * gain + wobble * 1.6 + late * 3,
                val_cls_loss=3.3 - 2.4 * gain + wobble * 3 + late * 5,
                val_dfl_loss=1.65 - 0.5 * gain + wobble + late,
                precision=0.82 * gain + wobble,
                recall=0.74 * gain + wobble,
                map50=max(0.79 * gain + wobble - late, 0.0),
                map50_95=max(0.46 * gain + wobble / 2 - late, 0.0),
                learning_rate=0.01 * (1 - epoch / 61),
                seconds=21.6 + wobble,
            ).model_dump()
        )
    return rows


def curve(ap: float) -> dict[str, list[float]]:
    """A curve with about this area below it."""
    recall = [index / 100 for index in range(101)]
    reach = min(ap + 0.12, 1.0)
    precision = [
        max(1 - (r / reach) ** 6 * 0.55 - r * 0.05, 0) if r <= reach else 0 for r in recall
    ]
    return {"recall": recall, "precision": precision}


def seen(number: int) -> dict[str, list[dict[str, Any]]]:
    """What is in an example, and what was found there."""
    random = np.random.default_rng(number)
    truth, found = [], []
    for n in range(5):
        x, y = random.uniform(0.02, 0.7, 2)
        width, height = random.uniform(0.05, 0.28, 2)
        right = n != number % 5
        box = {"name": CLASSES[n % 4], "xywh": [x, y, width, height], "right": right}
        truth.append({**box, "score": None})
        shifted = [x + 0.01, y - 0.01, width, height]
        found.append({**box, "xywh": shifted, "score": 0.9 - 0.1 * n})
    return {"truth": truth, "found": found}


def facts() -> dict[str, dict[str, Any]]:
    scores = {
        "scratch": (0.842, 0.471, 0.80, 0.79, 118, 64),
        "dent": (0.771, 0.452, 0.80, 0.74, 96, 58),
        "rust": (0.903, 0.588, 0.74, 0.86, 71, 49),
        "crack": (0.538, 0.241, 0.88, 0.47, 34, 27),
    }
    objects = {"scratch": 1184, "dent": 972, "rust": 703, "crack": 352}
    images = {"scratch": 640, "dent": 571, "rust": 488, "crack": 266}
    listing = digest("source")
    return {
        "preflight": {
            "checks": [
                {"name": "store", "ok": True, "detail": "s3://yololine/lines/strip answers"},
                {
                    "name": "source",
                    "ok": True,
                    "detail": "s3://inspection/strip/2025, yolo, 2,437 files",
                },
                {"name": "retry_policy", "ok": True, "detail": "OnError: lost pods are repeated"},
            ]
        },
        "resolve_source": {
            "source_uri": "s3://inspection/strip/2025",
            "source_format": "yolo",
            "files": 2437,
            "size_bytes": 318_442_190,
            "digest": listing,
            "previous_digest": digest("earlier source"),
            "previous_run": EARLIER_RUN_ID,
            "added_count": 212,
            "removed_count": 0,
            "changed_count": 3,
            "added": [f"images/coil-0731-{n:04d}.jpg" for n in range(20)],
            "removed": [],
            "changed": ["labels/coil-0712-0003.txt", "labels/coil-0712-0004.txt", "data.yaml"],
        },
        "clean_dataset": {
            "dataset_digest": digest("dataset"),
            "class_names": list(CLASSES),
            "files": {"total": 2437, "kept": 2424, "dropped": 9, "ignored": 4},
            "images": {"total": 1221, "kept": 1214, "dropped": 7, "background": 96},
            "boxes": {"total": 3228, "kept": 3211, "dropped": 17},
            "dropped_files": [
                {
                    "file": f"images/coil-0718-{n:04d}.jpg",
                    "reason": reason,
                    "detail": detail,
                    "exhibit": exhibit,
                }
                for n, (reason, detail, exhibit) in enumerate(
                    [
                        ("truncated image", "the file ends after 41 % of its rows", "file-0"),
                        ("duplicate picture", "same bytes as images/coil-0702-0111.jpg", "file-1"),
                        ("duplicate picture", "same bytes as images/coil-0702-0112.jpg", "file-2"),
                        ("not an image", "its first bytes are <!DOCTYPE html>", "file-missing"),
                        ("no label file", "there is no labels/coil-0718-0004.txt", ""),
                    ]
                )
            ],
            "dropped_files_by_reason": {
                "truncated image": 2,
                "duplicate picture": 4,
                "not an image": 1,
                "no label file": 2,
            },
            "box_faults": [
                {
                    "file": f"labels/coil-0720-{n:04d}.txt",
                    "line": n + 1,
                    "reason": reason,
                    "detail": f"line {n + 1}: {reason}",
                    "exhibit": f"box-{n}",
                }
                for n, reason in enumerate(
                    ["outside image", "no area", "outside image", "unknown class", "repeated box"]
                )
            ],
            "dropped_boxes_by_reason": {
                "outside image": 8,
                "no area": 5,
                "unknown class": 3,
                "repeated box": 1,
            },
            "objects_per_class": objects,
            "images_per_class": images,
            "image_sizes": {
                "width": {"min": 640, "median": 640, "max": 1280},
                "height": {"min": 480, "median": 480, "max": 960},
            },
            "normalised": 43,
            "class_names_guessed": False,
            "source_format": "yolo",
            "notes": ["Boxes that leave the image by less than 2 px were cut to its edge: 14."],
        },
        "split_dataset": {
            "digest": digest("split"),
            "counts": {
                "train": {
                    "images": 971,
                    "objects_per_class": {"scratch": 947, "dent": 778, "rust": 562, "crack": 282},
                },
                "val": {
                    "images": 121,
                    "objects_per_class": {"scratch": 119, "dent": 98, "rust": 70, "crack": 36},
                },
                "test": {
                    "images": 122,
                    "objects_per_class": {"scratch": 118, "dent": 96, "rust": 71, "crack": 34},
                },
            },
            "seed": 0,
            "val_fraction": 0.1,
            "test_fraction": 0.1,
        },
        "augment_dataset": {
            "policy": "policies/metal.yaml",
            "copies": 1,
            "images": 971,
            "objects_per_class": {"scratch": 931, "dent": 770, "rust": 560, "crack": 280},
            "transforms": ["HorizontalFlip", "RandomBrightnessContrast", "MotionBlur", "ISONoise"],
            "examples": [
                {"exhibit": f"augmented-{n}", "caption": f"images/coil-0702-{n:04d}.jpg, copy 1"}
                for n in range(3)
            ],
        },
        "prepare_weights": {
            "architecture": "yolo11n",
            "origin": "s3://yololine/weights/yolo11n.pt",
            "parameter_count": 2_590_620,
            "sha256": digest("weights"),
        },
        "build_test_set": {
            "images": 122,
            "objects_per_class": {"scratch": 118, "dent": 96, "rust": 71, "crack": 34},
            "digest": digest("test set"),
        },
        "train_detector": {
            "training_key": digest("training"),
            "epochs": 60,
            "best_epoch": 47,
            "curves": epochs(),
            "resumed_from_epoch": 22,
            "starts": 2,
            "device": "NVIDIA L4, 24 GB",
            "batch_size": 32,
            "image_size": 640,
            "options": {"optimizer": "auto", "patience": 20, "mosaic": 1.0, "close_mosaic": 10},
            "transferred_tensors": 448,
            "warnings": [],
        },
        "export_detector": {
            "onnx_sha256": digest("onnx"),
            "size_bytes": 10_612_224,
            "output_layout": "batch, 4 + classes, anchors",
            "output_shape": [1, 8, 8400],
            "opset": 17,
            "max_abs_difference": 3.1e-05,
            "images_compared": 8,
        },
        "evaluate_detector": {
            "ap50": 0.764,
            "ap50_95": 0.438,
            "per_class": {
                name: {
                    "ap50": ap50,
                    "ap50_95": ap,
                    "precision": precision,
                    "recall": recall,
                    "f1": 2 * precision * recall / (precision + recall),
                    "objects": count,
                    "images": on,
                }
                for name, (ap50, ap, precision, recall, count, on) in scores.items()
            },
            "confusion": {
                "labels": [*CLASSES, "background"],
                "matrix": [
                    [93, 2, 0, 5, 18],
                    [3, 71, 1, 0, 21],
                    [0, 2, 61, 0, 8],
                    [6, 0, 0, 16, 12],
                    [11, 14, 6, 8, 0],
                ],
            },
            "pr_curves": {name: curve(row[0]) for name, row in scores.items()},
            "confidence_threshold": 0.25,
            "iou_threshold": 0.5,
            "images": 122,
            "latency_ms": 11.8,
            "engine": {
                "name": "openvino",
                "device": "CPU",
                "precision": "bf16",
                "version": "2026.4.1",
            },
            "examples": [
                {"exhibit": f"example-{n}", "caption": caption, **seen(n)}
                for n, caption in enumerate(
                    [
                        "images/coil-0705-0017.jpg: 4 of 5 found",
                        "images/coil-0705-0023.jpg: all found",
                        "images/coil-0706-0002.jpg: 1 made up",
                        "images/coil-0709-0041.jpg: crack taken for scratch",
                        "images/coil-0711-0008.jpg: 2 missed",
                    ]
                )
            ],
        },
        "decide_promotion": {
            "promoted": True,
            "rules": [
                {"metric": "ap50", "minimum": 0.7, "value": 0.764, "passed": True},
                {"metric": "per_class.crack.ap50", "minimum": 0.5, "value": 0.538, "passed": True},
            ],
            "reasons": [
                "ap50 0.764 reaches the minimum 0.700",
                "per_class.crack.ap50 0.538 reaches the minimum 0.500",
            ],
        },
        "register_model": {
            "name": "strip-defects",
            "version": "7",
            "uri": "s3://yololine/lines/strip/models/strip-defects/7",
            "champion_before": "6",
            "champion_now": "7",
            "lineage": {
                "source_uri": "s3://inspection/strip/2025",
                "dataset_digest": digest("dataset"),
                "steps": {"split_dataset": {"key": digest("key split_dataset")}},
            },
            "files": {
                "model.onnx": {"sha256": digest("onnx"), "size_bytes": 10_612_224},
                "weights.pt": {"sha256": digest("best"), "size_bytes": 5_460_231},
                "metrics.json": {"sha256": digest("metrics"), "size_bytes": 41_210},
            },
        },
    }


def deployed() -> dict[str, Any]:
    """What a deployment tells."""
    return {
        "name": "strip-defects",
        "version": "7",
        "previous_version": "6",
        "class_names": list(CLASSES),
        "service": "strip-defects",
        "namespace": "vision",
        "url": "http://strip-defects-predictor.vision.svc.cluster.local",
        "precision": "bf16",
        "golden_checked": 12,
        "recorded": {
            "uri": "s3://cameras/line-2",
            "found": 48_210,
            "asked": 200,
            "left_out": ["2025-05-02/0411.jpg: is no picture that can be read (cut short)"],
            "answered": 197,
            "compared": 197,
            "alike": 188,
            "otherwise": [f"2025-05-02/{n:04d}.jpg" for n in range(9)],
            "unanswered": ["2025-05-01/0007.jpg", "2025-05-02/0112.jpg"],
            "failed": "",
            "examples": [
                {
                    "exhibit": f"example-{n}",
                    "caption": f"2025-05-02/{n:04d}.jpg",
                    "differences": [f"scratch 0.{81 - n} at (64, 48, 192, 144) is not found"],
                    "truth": [
                        {
                            "name": "scratch",
                            "xywh": [0.1, 0.1, 0.2, 0.2],
                            "right": False,
                            "score": 0.81 - n / 100,
                        },
                        {"name": "dent", "xywh": [0.5, 0.4, 0.3, 0.2], "right": True, "score": 0.7},
                    ],
                    "found": [
                        {"name": "dent", "xywh": [0.5, 0.4, 0.3, 0.2], "right": True, "score": 0.72}
                    ],
                }
                for n in range(4)
            ],
        },
        "seconds": 91.4,
        "rollback": False,
        "happened": [
            {"at": "2025-05-03T02:29:26+00:00", "said": "applying version 7 to strip-defects"},
            {"at": "2025-05-03T02:30:51+00:00", "said": "sending 12 golden images"},
        ],
    }


def record(step: str, told: Mapping[str, Any], **changes: Any) -> StepRecord:
    offset, seconds = TIMES[step]
    versions = {"yololine": "0.1.0", "python": "3.11.9"}
    if step in ("prepare_weights", "train_detector", "export_detector"):
        versions |= {"torch": "2.9.1", "ultralytics": "8.4.2"}
    notes = {
        "train_detector": (
            "The trainer was killed in epoch 23 and started again from its checkpoint.",
        ),
        "clean_dataset": (
            "17 boxes and 9 files were dropped; look at those outside the image first.",
        ),
    }
    values: dict[str, Any] = {
        "step": step,
        "run_id": RUN_ID,
        "state": StepState.DONE,
        "started_at": STARTED + timedelta(seconds=offset),
        "finished_at": STARTED + timedelta(seconds=offset + seconds),
        "key": digest(f"key {step}"),
        "digest": digest(step),
        "inputs": {"dataset": digest("dataset")} if offset > 130 else {},
        "facts": dict(told),
        "notes": notes.get(step, ()),
        "versions": versions,
    }
    if step == "preflight":
        values["parameters"] = {
            "source_uri": "s3://inspection/strip/2025",
            "store_uri": "s3://yololine/lines/strip",
            "model_name": "strip-defects",
            "epochs": 60,
            "image_size": 640,
            "val_fraction": 0.1,
            "resources": ["nvidia.com/gpu", "1", "8", "32Gi"],
            "queue_name": "",
            "deploy": False,
        }
    return StepRecord(**{**values, **changes})


def plate(seed: int, width: int = 640, height: int = 480) -> npt.NDArray[np.uint8]:
    """A made-up photograph of brushed metal, (h, w, 3)."""
    random = np.random.default_rng(seed)
    rows = random.normal(0, 9, (height, 1)).repeat(width, axis=1)
    light = np.linspace(-28, 28, width)[None, :] * math.cos(seed)
    grey = 142 + rows + light + random.normal(0, 4, (height, width))
    return np.clip(grey[..., None] + np.array([0, 2, 6]), 0, 255).astype(np.uint8)


@functools.cache
def pictures() -> dict[str, bytes]:
    """Every exhibit the facts name, but for `file-missing`."""
    found = {}
    for n in range(5):
        found[f"example-{n}"] = thumbnail(plate(n))
        found[f"box-{n}"] = to_jpeg(
            draw_boxes(
                plate(n), [[420, 300, 600, 440]], colours=["#e1141e"], dashed=[True], max_width=320
            )
        )
    for n in range(3):
        found[f"file-{n}"] = thumbnail(plate(n + 20), 320)
        found[f"augmented-{n}"] = thumbnail(np.ascontiguousarray(plate(n)[:, ::-1]), 320)
    return found


def succeeded_run() -> Run:
    records = {step: record(step, told) for step, told in facts().items()}
    asked = {**records["preflight"].parameters, "deploy": True}
    records["preflight"] = records["preflight"].model_copy(update={"parameters": asked})
    return Run(
        state=RunState.SUCCEEDED,
        records={**records, "deploy_model": record("deploy_model", deployed())},
        exhibits=pictures(),
    )


def failed_run() -> Run:
    """Cut off in training, after the driver took the accelerator's memory."""
    error = ErrorRecord(
        kind="OutOfMemory",
        message="batch size 64 at 1280 px: killed for memory, oom_kill 1 in memory.events; "
        "set batch_size to 32 or less, or ask for more than 16Gi",
        remedy="set batch_size to 32 or less, or ask for more than 16Gi",
    )
    told = facts()
    before = list(STEPS)[: list(STEPS).index("train_detector")]
    records = {step: record(step, told[step]) for step in before}
    rows = epochs(23)
    records["train_detector"] = record(
        "train_detector",
        {**told["train_detector"], "curves": rows, "best_epoch": 21, "starts": 3},
        state=StepState.FAILED,
        attempt=2,
        finished_at=STARTED + timedelta(seconds=760),
        digest="",
        error=error,
        progress=EpochProgress.model_validate(rows[-1]),
        notes=(),
    )
    return Run(
        state=RunState.FAILED,
        records=records,
        exhibits=pictures(),
        error=error,
        go_on=Continuation(
            advice="The same command goes on:",
            command="yololine run training --parameters strip.yaml --batch-size 32",
        ),
    )


def terminated_run() -> Run:
    told = facts()
    records = {
        step: record(step, told[step])
        for step in ("preflight", "resolve_source", "prepare_weights")
    }
    records["clean_dataset"] = record(
        "clean_dataset",
        {},
        state=StepState.TERMINATED,
        digest="",
        notes=(),
        error=ErrorRecord(
            kind="Terminated",
            message="SIGTERM: the step was told to stop; start the run again",
            remedy="start the run again",
        ),
    )
    return Run(
        state=RunState.TERMINATED,
        records=records,
        exhibits={},
        go_on=Continuation(advice="Press Retry."),
    )


def reused_run() -> Run:
    """A nightly run on a source in which nothing changed."""
    told = facts()
    told["resolve_source"] |= {
        "previous_digest": told["resolve_source"]["digest"],
        "added_count": 0,
        "changed_count": 0,
        "added": [],
        "changed": [],
    }
    later = STARTED + timedelta(days=1)
    records = {}
    for step, of_step in told.items():
        offset, seconds = TIMES[step]
        if step in ("preflight", "resolve_source"):
            at = later + timedelta(seconds=offset)
            records[step] = record(
                step, of_step, started_at=at, finished_at=at + timedelta(seconds=seconds)
            )
        elif step in ("clean_dataset", "train_detector"):
            # The step ran and found its result there.
            at = later + timedelta(seconds=60 if step == "clean_dataset" else 90)
            records[step] = record(
                step,
                of_step,
                state=StepState.REUSED,
                started_at=at,
                finished_at=at + timedelta(seconds=1.2),
                made_in_run=EARLIER_RUN_ID,
                made_seconds=seconds,
                notes=(),
            )
        else:
            # The pipeline's cache skipped the step: the record is made from the result.
            made_at = STARTED + timedelta(seconds=offset + seconds)
            records[step] = record(
                step,
                of_step,
                state=StepState.REUSED,
                started_at=made_at,
                finished_at=made_at,
                made_in_run=EARLIER_RUN_ID,
                made_seconds=seconds,
                notes=(),
            )
    return Run(state=RunState.SUCCEEDED, records=records, exhibits=pictures())


def many_run() -> Run:
    """All that a page may have to hold: eighty classes with names of every kind, and pictures."""
    random = np.random.default_rng(3)
    told = facts()
    names = [
        "划痕",
        "حفرة",
        "<b>rost</b> & 'Öl'",
        "a-name-without-a-single-space-that-goes-on-for-sixty-letters-in-all",
        *(f"class number {n}" for n in range(76)),
    ]
    box = told["evaluate_detector"]["per_class"]["dent"]
    photo = np.kron(random.integers(0, 255, (60, 80, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    noisy = np.clip(photo + random.normal(0, 40, photo.shape), 0, 255).astype(np.uint8)
    pictures = {f"example-{n}": thumbnail(noisy) for n in range(12)}
    pictures |= {f"fault-{n}": thumbnail(noisy, 320) for n in range(24)}
    crowd = [
        {
            "name": names[n % 80],
            "xywh": [*random.uniform(0, 0.9, 2), 0.06, 0.06],
            "right": n % 3 > 0,
            "score": 0.5,
        }
        for n in range(300)
    ]
    matrix = random.integers(0, 9, (81, 81)).tolist()
    matrix[3][80], matrix[80][0] = 400, 300
    told["evaluate_detector"] |= {
        "per_class": dict.fromkeys(names, box),
        "pr_curves": {name: curve(random.uniform(0.2, 0.9)) for name in names},
        "confusion": {"labels": [*names, "background"], "matrix": matrix},
        "examples": [
            {"exhibit": f"example-{n}", "caption": f"图片/{n}.jpg", "truth": crowd, "found": crowd}
            for n in range(12)
        ],
    }
    objects = {name: int(random.integers(1, 5000)) for name in names}
    told["clean_dataset"] |= {
        "class_names": names,
        "objects_per_class": objects,
        "images_per_class": objects,
        "dropped_files": [
            {
                "file": f"images/{'a very long name ' * 12}{n}.jpg",
                "reason": "truncated image",
                "detail": "x" * 300,
                "exhibit": f"fault-{n}" if n < 24 else "",
            }
            for n in range(700)
        ],
    }
    for part in told["split_dataset"]["counts"].values():
        part["objects_per_class"] = objects
    told["augment_dataset"]["objects_per_class"] = objects
    told["build_test_set"]["objects_per_class"] = objects
    return Run(
        state=RunState.SUCCEEDED,
        records={step: record(step, of_step) for step, of_step in told.items()},
        exhibits=pictures,
        model_name="一个非常长的模型名称" * 4,
    )


def retried_run() -> Run:
    """Failed once, and now under way again."""
    failed = failed_run()
    first = failed.records["train_detector"]
    again = first.model_copy(
        update={
            "state": StepState.RUNNING,
            "attempt": 3,
            "earlier": (first.as_attempt(),),
            "finished_at": None,
            "error": None,
        }
    )
    return dataclasses.replace(
        failed,
        state=RunState.RUNNING,
        error=None,
        records={**failed.records, "train_detector": again},
    )


@pytest.fixture
def succeeded() -> Run:
    return succeeded_run()


@pytest.fixture
def failed() -> Run:
    return failed_run()


@pytest.fixture
def terminated() -> Run:
    return terminated_run()


@pytest.fixture
def reused() -> Run:
    return reused_run()


@pytest.fixture
def many() -> Run:
    return many_run()
