"""Scoring, the promotion decision, and registration."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import yololine
from yololine.dataset.manifest import TestSetManifest
from yololine.dataset.schema import Row, read_rows
from yololine.detector.manifests import ExportedManifest
from yololine.errors import in_one
from yololine.evaluation.confusion import confusion, iou_matrix
from yololine.evaluation.golden import (
    GOLDEN_FILE,
    SHOWN_SCORE,
    Golden,
    GoldenImage,
    choose_golden,
    write_golden,
)
from yololine.evaluation.metrics import Metrics, Truth, coco_metrics
from yololine.evaluation.promotion import Decision, decide, rule_faults
from yololine.evaluation.scoring import score_rows
from yololine.frozen import Frozen
from yololine.inference.decoding import decode_rgb
from yololine.inference.detector import IOU_THRESHOLD, LOWEST_SCORE
from yololine.inference.postprocess import Detections
from yololine.inference.precision import Precision
from yololine.registry import versions
from yololine.registry.versions import Version
from yololine.reporting.boxes import to_draw
from yololine.reporting.pages import render_run_report
from yololine.reporting.pictures import thumbnail
from yololine.steps.data import fetch_shards
from yololine.steps.keys import result_key
from yololine.steps.perform import (
    LOG,
    Made,
    Step,
    perform,
    read_manifest,
    running,
    write_page,
    write_text,
)
from yololine.steps.report import exhibits_of
from yololine.steps.sinks import ConfusionSink, MetricSink
from yololine.storage import FileRef, fetch_files
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import StepState
from yololine.telemetry.results import behind, line_of
from yololine.telemetry.runs import RunState

Flags = NDArray[np.bool_]
MATCH_IOU = 0.5
EXAMPLES = 12


class EvaluationManifest(Frozen):
    """Metrics of an exported model on a test set; its numbers are the registry's metrics.json."""

    kind: Literal["evaluation"] = "evaluation"
    key: str
    export_key: str
    test_set_digest: str
    metrics: dict[str, Any]
    precision: Precision
    """Of the engine that scored, and so of those that serve."""
    golden: FileRef
    """Test images with their detections: what a deployed version must answer."""
    tool_version: str

    @property
    def ap50(self) -> float:
        """AP50 over all classes, 0 to 1."""
        return float(self.metrics["ap50"])


def evaluate_detector(
    exported: str,
    test_set: str,
    store_uri: str,
    evaluation: str,
    report: str,
    *,
    metrics: MetricSink,
    confusion_out: ConfusionSink,
) -> EvaluationManifest:
    """Score the exported model on the test set.

    Args:
        exported: Manifest of the exported model.
        test_set: Manifest of the test set.
        store_uri: Root of the store.
        evaluation: KFP output for the metrics, JSON.
        report: KFP output for the page.
        metrics: KFP output for metrics.
        confusion_out: KFP output for the confusion matrix.
    """
    config = {
        "lowest_score": LOWEST_SCORE,
        "iou_threshold": IOU_THRESHOLD,
        "shown_score": SHOWN_SCORE,
        "match_iou": MATCH_IOU,
    }
    with running(
        "evaluate_detector",
        store_uri=store_uri,
        beside=evaluation,
        parameters=config,
        packages=("openvino", "onnxruntime", "faster-coco-eval", "numpy", "opencv-python-headless"),
    ) as step:
        model = read_manifest(exported, ExportedManifest)
        tests = read_manifest(test_set, TestSetManifest)
        step.takes(
            {"exported": model.key, "test_set": tests.digest},
            upstream={"export_detector": model.key, "build_test_set": tests.key},
        )

        def make(scratch: Path) -> Made:
            onnx = scratch / "model.onnx"
            fetch_files(step.store, [(model.onnx, onnx)])
            shards = fetch_shards(step.store, tests.shards, scratch / "test")
            sizes_bytes: list[int] = []
            tested = score_rows(
                _measured(_rows(shards), sizes_bytes),
                onnx,
                image_size=model.image_size,
                class_names=model.class_names,
            )
            truths, found = tested.truths, tested.found
            scores = coco_metrics(truths, found, model.class_names)
            matrix = confusion(
                truths, found, model.class_names, min_score=SHOWN_SCORE, min_iou=MATCH_IOU
            )
            chosen = _examples(truths, found)
            images = dict.fromkeys(
                choose_golden(
                    [truth.file_name for truth in truths], found, sizes_bytes, min_score=SHOWN_SCORE
                ),
                b"",
            )
            rows = _keeping(_rows(shards), images)
            exhibits, examples = _show_examples(rows, truths, found, chosen, model.class_names)
            write_golden(scratch / GOLDEN_FILE, _golden(images, truths, found, model.class_names))
            return Made(
                manifest=lambda files: EvaluationManifest(
                    key="",
                    export_key=model.key,
                    test_set_digest=tests.digest,
                    metrics=_registry_metrics(scores),
                    precision=tested.engine.precision,
                    golden=files[GOLDEN_FILE],
                    tool_version=yololine.__version__,
                ),
                files={GOLDEN_FILE: scratch / GOLDEN_FILE},
                facts={
                    **scores.model_dump(mode="json"),
                    "confusion": matrix.model_dump(mode="json"),
                    "confidence_threshold": SHOWN_SCORE,
                    "iou_threshold": MATCH_IOU,
                    "images": len(truths),
                    "golden_images": len(images),
                    "latency_ms": round(tested.milliseconds, 2),
                    "engine": tested.engine.model_dump(),
                    "examples": examples,
                },
                exhibits=exhibits,
            )

        result = perform(step, config=config, make=make, manifest_out=evaluation, page_out=report)
        _log_metrics(result.facts, metrics, confusion_out)
        made = EvaluationManifest.model_validate(result.manifest)
        LOG.info("evaluate_detector: AP50 %.3f on %d images", made.ap50, tests.images)
    return made


def decide_promotion(
    evaluation: str,
    store_uri: str,
    decision: str,
    report: str,
    *,
    min_map50: float,
    promotion_rules: dict[str, Any],
) -> Decision:
    """Hold the metrics against the rules.

    Args:
        evaluation: Metrics, JSON.
        store_uri: Root of the store.
        decision: KFP output for the decision, JSON.
        report: KFP output for the page.
        min_map50: Least AP50, 0 to 1.
        promotion_rules: Further least values by metric.
    """
    config = {"min_map50": min_map50, "promotion_rules": promotion_rules}
    with running(
        "decide_promotion",
        store_uri=store_uri,
        beside=decision,
        parameters=config,
    ) as step:
        if faults := rule_faults(promotion_rules, min_map50):
            raise in_one(faults)
        scored = read_manifest(evaluation, EvaluationManifest)
        step.takes({"evaluation": scored.key}, upstream={"evaluate_detector": scored.key})

        def make(_: Path) -> Made:
            made = decide(scored.metrics, min_map50=min_map50, promotion_rules=promotion_rules)
            return Made(manifest=lambda _: made, facts=made)

        result = perform(step, config=config, make=make, manifest_out=decision, page_out=report)
        made = Decision.model_validate(result.manifest)
        LOG.info(
            "decide_promotion: %s: %s",
            "promoted" if made.promoted else "not promoted",
            "; ".join(made.reasons),
        )
    return made


def register_model(
    exported: str,
    evaluation: str,
    decision: str,
    store_uri: str,
    version: str,
    report: str,
    *,
    model_name: str,
) -> Version:
    """Register a version with its lineage, and crown it where it is promoted.

    Args:
        exported: Manifest of the exported model.
        evaluation: Metrics, JSON.
        decision: The decision, JSON.
        store_uri: Root of the store.
        version: KFP output for the version's manifest.
        report: KFP output for the page.
        model_name: Name of the model in the registry.
    """
    with running(
        "register_model",
        store_uri=store_uri,
        beside=version,
        parameters={"model_name": model_name},
    ) as step:
        model = read_manifest(exported, ExportedManifest)
        scored = read_manifest(evaluation, EvaluationManifest)
        decided = read_manifest(decision, Decision)
        step.takes(
            {"exported": model.key, "evaluation": scored.key, "decision": decided.key},
            upstream={
                "export_detector": model.key,
                "evaluate_detector": scored.key,
                "decide_promotion": decided.key,
            },
        )
        key = result_key("register_model", inputs=step.record.inputs, config={"name": model_name})
        step.update(key=key)
        before = versions.champion(step.store, model_name)
        registered = versions.find_version(step.store, model_name, key)
        reused = registered is not None
        lineage = _lineage(step)
        if registered is None:
            registered = _register(step, model, scored, decided, model_name, key, lineage)
        if registered.promoted:
            versions.crown(step.store, registered)
        now_champion = versions.champion(step.store, model_name)
        step.update(
            state=StepState.REUSED if reused else StepState.DONE,
            digest=key,
            facts={
                "name": registered.name,
                "version": registered.version,
                "uri": f"{step.store.uri}/{registered.folder}",
                "promoted": registered.promoted,
                "champion_before": before.version if before else "",
                "champion_now": now_champion.version if now_champion else "",
                "lineage": lineage,
                "files": {n: ref.model_dump() for n, ref in registered.files.items()},
            },
        )
        write_text(version, registered.model_dump_json(indent=1))
        write_page(step, report)
        LOG.info(
            "register_model: %s@%s %s",
            registered.name,
            registered.version,
            "is registered already" if reused else "registered",
        )
    return registered


def _register(
    step: Step,
    model: ExportedManifest,
    scored: EvaluationManifest,
    decided: Decision,
    model_name: str,
    key: str,
    lineage: dict[str, Any],
) -> Version:
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        files = {
            name: scratch / name
            for name in (
                versions.MODEL,
                versions.WEIGHTS,
                "metrics.json",
                GOLDEN_FILE,
                "lineage.json",
                "report.html",
            )
        }
        fetch_files(
            step.store,
            [
                (model.onnx, files[versions.MODEL]),
                (model.weights, files[versions.WEIGHTS]),
                (scored.golden, files[GOLDEN_FILE]),
            ],
        )
        files["metrics.json"].write_text(json.dumps(scored.metrics, indent=1))
        files["lineage.json"].write_text(json.dumps(lineage, indent=1))
        # The record is not final yet, but what it will say of the version is known.
        own = step.record.model_copy(
            update={
                "state": StepState.DONE,
                "facts": {
                    "name": model_name,
                    "version": versions.version_name(key),
                    "promoted": decided.promoted,
                    "lineage": lineage,
                },
            }
        )
        records = line_of(step.store, read_run(step.store, step.run_id)) | {"register_model": own}
        files["report.html"].write_text(
            render_run_report(
                run_id=step.run_id,
                model_name=model_name,
                state=RunState.SUCCEEDED,
                error=None,
                records=records,
                exhibits=exhibits_of(step.store, records),
            ),
            encoding="utf-8",
        )
        return versions.register(
            step.store,
            name=model_name,
            key=key,
            promoted=decided.promoted,
            files=files,
            class_names=model.class_names,
            image_size=model.image_size,
            metrics=scored.metrics,
            precision=scored.precision,
        )


def _lineage(step: Step) -> dict[str, Any]:
    """Every step behind the version: its key, its inputs, its digest; down to the source."""
    own = read_run(step.store, step.run_id)
    records = behind(step.store, step.record, own)
    cleaned = records.get("clean_dataset")
    # Of this run: the dataset may have been made from the same files at another place.
    resolved = own.get("resolve_source")
    return {
        "source_uri": resolved.facts["source_uri"] if resolved else "",
        "source_digest": cleaned.inputs.get("source", "") if cleaned else "",
        "dataset_digest": cleaned.digest if cleaned else "",
        "steps": {
            name: {
                "key": record.key,
                "digest": record.digest,
                "inputs": record.inputs,
                "made_in_run": record.made_in_run,
                "versions": record.versions,
            }
            for name, record in records.items()
        },
    }


def _registry_metrics(scores: Metrics) -> dict[str, Any]:
    document = scores.model_dump(mode="json", exclude={"pr_curves"})
    return dict(document)


def _rows(shards: Iterable[Path]) -> Iterator[Row]:
    return (row for shard in shards for row in read_rows(shard))


def _measured(rows: Iterable[Row], sizes_bytes: list[int]) -> Iterator[Row]:
    """The rows, while the sizes of their images are written down."""
    for row in rows:
        sizes_bytes.append(len(row.image_bytes))
        yield row


def _keeping(rows: Iterable[Row], images: dict[int, bytes]) -> Iterator[Row]:
    """The rows, while the images of those whose indices `images` has are put into it."""
    for index, row in enumerate(rows):
        if index in images:
            images[index] = row.image_bytes
        yield row


def _golden(
    images: dict[int, bytes],
    truths: list[Truth],
    found: list[Detections],
    class_names: tuple[str, ...],
) -> Golden:
    return Golden(
        images=tuple(
            GoldenImage(
                file_name=truths[index].file_name,
                image_bytes=image_bytes,
                width=truths[index].width,
                height=truths[index].height,
                detections=found[index].above(SHOWN_SCORE),
            )
            for index, image_bytes in images.items()
        ),
        class_names=class_names,
        min_score=SHOWN_SCORE,
        iou_threshold=IOU_THRESHOLD,
    )


def _log_metrics(facts: dict[str, Any], metrics: MetricSink, confusion_out: ConfusionSink) -> None:
    metrics.log_metric("ap50", facts["ap50"])
    metrics.log_metric("ap50_95", facts["ap50_95"])
    for name, values in facts["per_class"].items():
        for metric in ("ap50", "ap50_95"):
            # None where the test split holds no such object: KFP refuses what is no number.
            if values[metric] is not None:
                metrics.log_metric(f"{metric}/{name}", values[metric])
    confusion_out.log_confusion_matrix(facts["confusion"]["labels"], facts["confusion"]["matrix"])


def _right(truth: Truth, shown: Detections) -> tuple[Flags, Flags]:
    """Of each object whether it was found, of each box found whether such an object is there."""
    overlap = iou_matrix(truth.boxes_xyxy, shown.boxes_xyxy) >= MATCH_IOU
    matched = overlap & (truth.class_ids[:, None] == shown.class_ids[None, :])
    return matched.any(axis=1), matched.any(axis=0)


def _mistakes(truth: Truth, found: Detections) -> tuple[int, int]:
    """Objects not found and boxes found where no such object is."""
    there, right = _right(truth, found.above(SHOWN_SCORE))
    return int((~there).sum()), int((~right).sum())


def _examples(truths: list[Truth], found: list[Detections]) -> dict[int, str]:
    """Pictures to show: half those with most mistakes, half drawn by lot; index -> caption."""
    mistakes = [_mistakes(t, f) for t, f in zip(truths, found, strict=True)]
    worst = sorted(range(len(truths)), key=lambda i: (-sum(mistakes[i]), i))
    chosen = [i for i in worst[: EXAMPLES // 2] if sum(mistakes[i])]
    rest = [i for i in range(len(truths)) if i not in chosen]
    seed = hashlib.sha256("\n".join(t.file_name for t in truths).encode()).digest()
    chosen += random.Random(seed).sample(rest, min(EXAMPLES - len(chosen), len(rest)))
    return {
        i: f"{truths[i].file_name}: {_count(len(truths[i].class_ids), 'object')}, "
        f"{mistakes[i][0]} missed, {mistakes[i][1]} false"
        for i in chosen
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _show_examples(
    rows: Iterator[Row],
    truths: list[Truth],
    found: list[Detections],
    chosen: dict[int, str],
    class_names: tuple[str, ...],
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Photographs without boxes, and what the page draws over them."""
    exhibits: dict[str, bytes] = {}
    examples: dict[int, dict[str, Any]] = {}
    for index, row in enumerate(rows):
        if index not in chosen:
            continue
        name = f"example-{index:04d}"
        exhibits[name] = thumbnail(decode_rgb(row.image_bytes))
        truth, shown = truths[index], found[index].above(SHOWN_SCORE)
        there, right = _right(truth, shown)
        names = [class_names[int(c)] for c in truth.class_ids]
        guesses = [class_names[int(c)] for c in shown.class_ids]
        size = {"width": row.width, "height": row.height}
        examples[index] = {
            "exhibit": name,
            "caption": chosen[index],
            "truth": to_draw(truth.boxes_xyxy, names, right=there, **size),
            "found": to_draw(shown.boxes_xyxy, guesses, right=right, scores=shown.scores, **size),
        }
    return exhibits, [examples[index] for index in chosen]
