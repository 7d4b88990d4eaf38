"""Start weights, training, export: the steps of the training image.

torch and ultralytics are imported where something is made: a result that is there is found
without the seconds that they take.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import yololine
from yololine.dataset.manifest import AugmentedManifest, SplitManifest
from yololine.dataset.materialise import materialise_yolo
from yololine.dataset.splitting import rows_of
from yololine.detector.architectures import check_architecture
from yololine.detector.config import ONNX_OPSET, training_config
from yololine.detector.manifests import ExportedManifest, TrainedManifest, WeightsManifest
from yololine.detector.release import ultralytics_release
from yololine.errors import DatasetError
from yololine.steps.data import fetch_shards, split_assignments
from yololine.steps.parameters import check_limits, check_resources, check_start_weights
from yololine.steps.perform import Made, perform, read_manifest, running
from yololine.steps.sinks import MetricSink
from yololine.storage import fetch_files, open_object
from yololine.telemetry.results import Result

PACKAGES = ("ultralytics", "torch", "torchvision", "numpy", "opencv-python-headless")
CLASSES_OF_COCO = 80
"""What an architecture's parameters are counted with before the dataset's classes are known."""
COMPARED_IMAGES = 4


def prepare_weights(
    store_uri: str,
    weights: str,
    report: str,
    *,
    architecture: str,
    weights_uri: str,
    weights_sha256: str,
) -> Result:
    """Check the architecture, and the start weights where there are some.

    Args:
        store_uri: Root of the store.
        weights: KFP output for the manifest.
        report: KFP output for the page.
        architecture: A name of `ARCHITECTURES`.
        weights_uri: A .pt to start from; empty for random weights.
        weights_sha256: sha256 of that file.
    """
    config = {
        "architecture": architecture,
        "sha256": weights_sha256.lower() if weights_uri else "",
        "ultralytics": ultralytics_release(),
    }
    with running(
        "prepare_weights",
        store_uri=store_uri,
        beside=weights,
        parameters={
            "architecture": architecture,
            "weights_uri": weights_uri,
            "weights_sha256": weights_sha256,
        },
        packages=PACKAGES,
    ) as step:
        check_architecture(architecture)
        # Without it the file would count for nothing, and the weights be random.
        check_start_weights(weights_uri, weights_sha256)

        def make(scratch: Path) -> Made:
            from yololine.detector import weights as start_weights

            files: dict[str, Path] = {}
            if weights_uri:
                store, name = open_object(weights_uri)
                given = scratch / "given" / name  # errors call it by this name
                given.parent.mkdir()
                store.download(name, given)
                tensors = scratch / "tensors.pt"
                parameters = start_weights.from_file(
                    given, sha256=weights_sha256, architecture=architecture, out=tensors
                )
                files = {"tensors.pt": tensors}
            else:
                parameters = start_weights.from_scratch(architecture, CLASSES_OF_COCO)
            return Made(
                manifest=lambda refs: WeightsManifest(
                    key="",
                    architecture=architecture,
                    origin=weights_uri or "scratch",
                    sha256=config["sha256"],
                    file=refs.get("tensors.pt"),
                    parameter_count=parameters,
                    tool_version=yololine.__version__,
                ),
                digest=config["sha256"],
                facts={
                    "architecture": architecture,
                    "origin": weights_uri or "from scratch",
                    "parameter_count": parameters,
                    "sha256": config["sha256"],
                },
                files=files,
            )

        return perform(step, config=config, make=make, manifest_out=weights, page_out=report)


def train_detector(
    split: str,
    augmented: str,
    weights: str,
    store_uri: str,
    trained: str,
    model: str,
    report: str,
    *,
    metrics: MetricSink,
    epochs: int,
    image_size: int,
    batch_size: int,
    seed: int,
    train_options: dict[str, Any],
    train_retries: int,
    train_retry_wait_seconds: float,
    resources: list[str],
) -> Result:
    """Train, or go on training, or return the training that is done.

    Args:
        split: Manifest of the split.
        augmented: Manifest of the augmented train images.
        weights: Manifest of the start weights.
        store_uri: Root of the store.
        trained: KFP output for the manifest.
        model: KFP output for the weights, `.pt`.
        report: KFP output for the page.
        metrics: KFP output for the best epoch's validation metrics.
        epochs: Passes over the train split.
        image_size: Side of the square input, pixels.
        batch_size: Images per batch, over all devices.
        seed: Of start weights and image order.
        train_options: Further options of the trainer.
        train_retries: How often a failed trainer is started again.
        train_retry_wait_seconds: Pause before each of these starts.
        resources: Accelerator type and count, CPU and memory limit.
    """
    # Counted and checked below, where a refusal has a record to be in.
    named = dict(zip(("gpu_type", "gpu_count", "cpu", "memory"), map(str, resources), strict=False))
    with running(
        "train_detector",
        store_uri=store_uri,
        beside=trained,
        parameters={
            "epochs": int(epochs),
            "image_size": int(image_size),
            "batch_size": int(batch_size),
            "seed": int(seed),
            "train_options": train_options,
            **named,
        },
        packages=PACKAGES,
    ) as step:
        check_resources(resources)
        check_limits(
            train_retries=int(train_retries), train_retry_wait_seconds=train_retry_wait_seconds
        )
        given = read_manifest(split, SplitManifest)
        extra = read_manifest(augmented, AugmentedManifest)
        start = read_manifest(weights, WeightsManifest)
        step.takes(
            {"split": given.digest, "augmented": extra.digest, "weights": start.key},
            upstream={
                "split_dataset": given.key,
                "augment_dataset": extra.key,
                "prepare_weights": start.key,
            },
        )
        if extra.split_digest != given.digest:
            raise DatasetError(
                f"augmented images of split {extra.split_digest[:12]}",
                rule=f"the split is {given.digest[:12]}",
                remedy="connect the augment_dataset that takes this split",
            )
        config = training_config(
            epochs=int(epochs),
            image_size=int(image_size),
            batch_size=int(batch_size),
            seed=int(seed),
            options=train_options,
        )
        # How many processes load images changes the speed, never the key.
        shaping = config.model_dump(mode="json")
        shaping["options"].pop("workers", None)
        shaping |= {"architecture": start.architecture, "ultralytics": ultralytics_release()}

        def make(scratch: Path) -> Made:
            from yololine.detector.training import train

            assignments = split_assignments(step.store, given, scratch)
            originals = fetch_shards(step.store, given.dataset.shards, scratch / "dataset")
            copies = fetch_shards(step.store, extra.shards, scratch / "augmented")
            images, names = scratch / "images", given.dataset.class_names
            materialise_yolo(originals, assignments, images, names, splits=("train", "val"))
            data_yaml = materialise_yolo(copies, None, images, names)
            start_state = None
            if start.file:
                start_state = scratch / "start.pt"
                fetch_files(step.store, [(start.file, start_state)])
            best = scratch / "weights.pt"
            done = train(
                store=step.store,
                training_key=step.record.key,
                architecture=start.architecture,
                data_yaml=data_yaml,
                config=config,
                start_state=start_state,
                gpu_count=int(resources[1]),
                weights_out=best,
                retries=int(train_retries),
                retry_wait_seconds=train_retry_wait_seconds,
                on_epoch=step.progress,
                on_note=step.note,
            )
            return Made(
                manifest=lambda files: TrainedManifest(
                    training_key=step.record.key,
                    architecture=start.architecture,
                    class_names=given.dataset.class_names,
                    image_size=config.image_size,
                    weights=files["weights.pt"],
                    best_epoch=done.best_epoch,
                    epochs=len(done.curves),
                    tool_version=yololine.__version__,
                ),
                facts={
                    "training_key": step.record.key,
                    "epochs": config.epochs,
                    "best_epoch": done.best_epoch,
                    "curves": [epoch.model_dump(mode="json") for epoch in done.curves],
                    "resumed_from_epoch": done.resumed_from_epoch,
                    "starts": done.starts,
                    "device": done.device,
                    "transferred_tensors": done.transferred_tensors,
                    "batch_size": config.batch_size,
                    "image_size": config.image_size,
                    "options": config.options,
                },
                files={"weights.pt": best},
            )

        result = perform(step, config=shaping, make=make, manifest_out=trained, page_out=report)
        Path(model).parent.mkdir(parents=True, exist_ok=True)
        fetch_files(step.store, [(result.files["weights.pt"], Path(model))])
        best_epoch = result.facts["curves"][result.facts["best_epoch"] - 1]
        for name in ("map50", "map50_95", "precision", "recall"):
            if best_epoch[name] is not None:
                metrics.log_metric(f"val_{name}", best_epoch[name])
        metrics.log_metric("best_epoch", result.facts["best_epoch"])
    return result


def export_detector(
    split: str, trained: str, store_uri: str, exported: str, model: str, report: str
) -> Result:
    """Export the trained detector to ONNX, proved against PyTorch on validation images.

    Args:
        split: Manifest of the split.
        trained: Manifest of the training.
        store_uri: Root of the store.
        exported: KFP output for the manifest.
        model: KFP output for the model, ONNX.
        report: KFP output for the page.
    """
    with running(
        "export_detector",
        store_uri=store_uri,
        beside=exported,
        packages=(*PACKAGES, "onnx", "openvino", "onnxruntime"),
    ) as step:
        given = read_manifest(split, SplitManifest)
        training = read_manifest(trained, TrainedManifest)
        step.takes(
            {"training": training.training_key, "split": given.digest},
            upstream={"train_detector": training.training_key, "split_dataset": given.key},
        )
        step.update(parameters={"image_size": training.image_size})

        def make(scratch: Path) -> Made:
            from yololine.detector.export import export_onnx
            from yololine.inference.decoding import decode_rgb

            weights, onnx = scratch / "weights.pt", scratch / "model.onnx"
            fetch_files(step.store, [(training.weights, weights)])
            assignments = split_assignments(step.store, given, scratch)
            rows = (
                row
                for shard in given.dataset.shards  # one at a time: the first has them, mostly
                for row in rows_of(
                    fetch_shards(step.store, (shard,), scratch / "dataset"), assignments, "val"
                )
            )
            pictures = [decode_rgb(row.image_bytes) for row in islice(rows, COMPARED_IMAGES)]
            done = export_onnx(
                weights,
                onnx,
                image_size=training.image_size,
                class_count=len(training.class_names),
                images_rgb=pictures,
            )
            return Made(
                manifest=lambda files: ExportedManifest(
                    key="",
                    training_key=training.training_key,
                    architecture=training.architecture,
                    class_names=training.class_names,
                    image_size=training.image_size,
                    onnx=files["model.onnx"],
                    weights=training.weights,
                    output_layout=done.output_layout,
                    tool_version=yololine.__version__,
                ),
                facts=done,
                files={"model.onnx": onnx},
            )

        result = perform(
            step,
            config={"opset": ONNX_OPSET},
            make=make,
            manifest_out=exported,
            page_out=report,
        )
        Path(model).parent.mkdir(parents=True, exist_ok=True)
        fetch_files(step.store, [(result.files["model.onnx"], Path(model))])
    return result
