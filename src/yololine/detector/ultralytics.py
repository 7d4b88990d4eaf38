"""The only file that imports ultralytics: building, loading, training and exporting its models.

Nothing here downloads or reports: the package is put off line before it is imported, its settings
lie in a temporary folder, and checkpoints are unpickled with `weights_only` against its list of
classes.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Read by ultralytics when it is imported, hence before the imports below; and not left to the
# environment, which would switch them off.
os.environ["YOLO_OFFLINE"] = "1"
os.environ["YOLO_AUTOINSTALL"] = "0"
os.environ["ULTRALYTICS_SAFE_LOAD"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ.setdefault("YOLO_VERBOSE", "0")
os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="yololine-ultralytics-")

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import ultralytics.data.utils as ultralytics_data
import ultralytics.engine.trainer as ultralytics_trainer
import ultralytics.utils.patches as ultralytics_patches
from PIL import Image
from ultralytics.engine.exporter import Exporter
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel, load_checkpoint, torch_safe_load
from ultralytics.utils import RANK, SETTINGS

from yololine import resources
from yololine.detector.config import ONNX_OPSET, TrainingConfig
from yololine.errors import NotFinite, OutOfMemory, WeightsError
from yololine.telemetry.records import EpochProgress

# ultralytics puts an own Image.open in place, which installs a package when it meets a file that is
# no picture.
Image.open = ultralytics_patches._image_open
atexit.register(shutil.rmtree, os.environ["YOLO_CONFIG_DIR"], ignore_errors=True)
# Usage reports, and every experiment tracker that happens to be installed: yololine keeps records.
SETTINGS.update({name: False for name, switch in SETTINGS.items() if switch is True})


class LoadedWeights:
    """A detector that came through the safe loader.

    Attributes:
        architecture: Its layout's name, such as `yolo11n`; empty where the layout has none.
        state: Tensor name -> tensor, float32 on CPU.
        parameter_count: Trainable parameters.
    """

    def __init__(self, model: Any) -> None:
        # A layout's file carries no size where the size is a scale: yolo11.yaml and "n".
        stem = Path(str(model.yaml.get("yaml_file", ""))).stem
        scale = str(model.yaml.get("scale", ""))
        sized = not stem or (stem.endswith(scale) and stem[-1].isalpha())
        self.architecture: str = stem if sized else stem + scale
        self.state = {k: v.float() for k, v in model.state_dict().items()}
        self.parameter_count = int(sum(p.numel() for p in model.parameters()))


def load_weights_safely(path: Path) -> LoadedWeights:
    """Load a detector's `.pt` without running anything in it.

    Raises:
        WeightsError: The file is cut short, is no detector, or refers to anything but the known
            classes of torch and ultralytics.
    """
    try:
        checkpoint, _ = torch_safe_load(path, safe_only=True)
        model = checkpoint.get("ema") or checkpoint.get("model")
        # Models of segmentation, pose and others are its subclasses.
        if type(model) is DetectionModel:
            return LoadedWeights(model)
    except Exception as error:  # whatever a hostile or broken file provokes is one refusal
        raise WeightsError(
            path.name,
            rule="is not a readable detector of torch and ultralytics classes alone "
            f"({type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''})",
            remedy="export it again with ultralytics, whole and without own classes in it",
        ) from error
    raise WeightsError(
        path.name,
        rule=f"holds a {type(model).__name__}, not a detection model",
        remedy="give the .pt of a detection training (task=detect)",
    )


def count_parameters(architecture: str, class_count: int) -> int:
    """Trainable parameters of a named architecture."""
    model = DetectionModel(f"{architecture}.yaml", nc=class_count, verbose=False)
    return sum(p.numel() for p in model.parameters())


class _Trainer(DetectionTrainer):
    """ultralytics' trainer, started from a state dictionary instead of a pickled model."""

    start_state: dict[str, torch.Tensor] | None = None
    transferred_tensors = 0

    def get_model(
        self, cfg: Any = None, weights: Any = None, verbose: bool = True
    ) -> torch.nn.Module:
        model: torch.nn.Module = super().get_model(cfg=cfg, weights=weights, verbose=verbose)
        if self.start_state is not None and weights is None:
            own = model.state_dict()
            fitting = {
                name: tensor
                for name, tensor in self.start_state.items()
                if name in own and own[name].shape == tensor.shape
            }
            model.load_state_dict(fitting, strict=False)
            _Trainer.transferred_tensors = len(fitting)
        return model

    def final_eval(self) -> None:
        """Left out: the exported model is scored on the test split instead."""

    def plot_metrics(self) -> None:
        """Left out: the report draws its own."""


def train(
    *,
    architecture: str,
    data_yaml: Path,
    config: TrainingConfig,
    start_state: Path | None,
    resume_from: Path | None,
    folder: Path,
    device: str,
    workers: int,
    on_epoch: Callable[[EpochProgress], None],
    on_checkpoint: Callable[[Path, float, bool], None],
    stopping: Callable[[], bool],
) -> None:
    """Train to the last epoch.

    Args:
        architecture: A name of `ARCHITECTURES`.
        data_yaml: ultralytics' description of the materialised images and labels.
        config: What to do.
        start_state: A file of tensors by name (`torch.save` of a plain dictionary), or None for
            random weights by the configuration's seed.
        resume_from: A checkpoint that this function wrote in an earlier start.
        folder: For the trainer's files.
        device: `cpu`, or CUDA indices such as `0` or `0,1`.
        workers: Processes that load images, per device.
        on_epoch: Called after each epoch with its losses and validation metrics (rank 0).
        on_checkpoint: Called after each epoch with the checkpoint's file, its fitness, and
            whether it is the last: all epochs are done, or `patience` of them brought nothing.
        stopping: Asked after each batch; true ends the training.

    Raises:
        NotFinite: The loss or a weight became NaN or infinite.
        OutOfMemory: A batch does not fit into memory.
        SystemExit: 143, when `stopping` said so.
    """
    ultralytics_trainer.check_amp = _amp_without_download
    # It fetches a font for plots that are not made, off line or not.
    ultralytics_data.check_font = _no_font
    overrides: dict[str, Any] = {
        "amp": device != "cpu",
        **config.options,
        "task": "detect",
        "mode": "train",
        "model": str(resume_from) if resume_from else f"{architecture}.yaml",
        "data": str(data_yaml),
        "epochs": config.epochs,
        "imgsz": config.image_size,
        "batch": config.batch_size,
        "seed": config.seed,
        "device": device,
        "workers": workers,
        "pretrained": False,
        "deterministic": True,
        "plots": False,
        "exist_ok": True,
        "save_dir": str(folder),
        "verbose": False,
    }
    if resume_from:
        overrides["resume"] = str(resume_from)
    _Trainer.start_state = (
        torch.load(start_state, map_location="cpu", weights_only=True) if start_state else None
    )
    _Trainer.transferred_tensors = 0
    trainer = _Trainer(overrides=overrides)
    if device == "cpu":
        # ultralytics leaves a core unused: with two, half of the machine.
        torch.set_num_threads(resources.cores())
    started = [time.monotonic()]

    def epoch_started(t: Any) -> None:
        started[0] = time.monotonic()
        if t.batch_size != config.batch_size:
            # ultralytics goes on with half of it; the result would not be what its key says.
            raise _out_of_memory(f"batch_size={config.batch_size}")

    def epoch_trained(t: Any) -> None:
        losses = {k: float(v) for k, v in (t.tloss or {}).items()}
        # The last step of an epoch can spoil the weights when every loss before it was fine.
        # Found here, before ultralytics writes zeros for NaN into the checkpoint or repeats the
        # epoch from the one before.
        tensors = t.model.state_dict().values()
        if not all(math.isfinite(v) for v in losses.values()):
            what = f"loss {losses}"
        elif not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
            what = "weights"
        else:
            return
        raise NotFinite(
            f"{what} in epoch {t.epoch + 1}",
            rule="no longer finite numbers",
            remedy="set optimizer and a lower lr0 in train_options, or look at the labels; the "
            "checkpoint of the epoch before is kept",
        )

    def saved(t: Any) -> None:
        if RANK not in {-1, 0}:
            return
        on_epoch(_progress(t, time.monotonic() - started[0]))
        on_checkpoint(Path(t.last), float(np.asarray(t.fitness).item()), bool(t.stop))

    def batch_done(_: Any) -> None:
        if stopping():
            raise SystemExit(143)

    trainer.add_callback("on_train_epoch_start", epoch_started)
    trainer.add_callback("on_train_epoch_end", epoch_trained)
    trainer.add_callback("on_model_save", saved)
    trainer.add_callback("on_train_batch_end", batch_done)
    try:
        trainer.train()
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(f"batch_size={config.batch_size}") from error


def _out_of_memory(what: str) -> OutOfMemory:
    return OutOfMemory(
        what,
        rule="does not fit into the memory of the device that trains",
        remedy="lower batch_size or image_size, or choose a smaller architecture",
    )


def transferred_tensors() -> int:
    """How many tensors the last training took from its start weights."""
    return _Trainer.transferred_tensors


def _progress(trainer: Any, seconds: float) -> EpochProgress:
    losses = {k.removesuffix("_loss"): float(v) for k, v in (trainer.tloss or {}).items()}
    metrics = {k: float(v) for k, v in trainer.metrics.items()}

    def finite(value: float | None) -> float | None:
        # Five significant digits: a learning rate may be a millionth.
        return float(f"{value:.5g}") if value is not None and math.isfinite(value) else None

    return EpochProgress(
        epoch=trainer.epoch + 1,
        epochs=trainer.epochs,
        box_loss=finite(losses.get("box")),
        cls_loss=finite(losses.get("cls")),
        dfl_loss=finite(losses.get("dfl")),
        val_box_loss=finite(metrics.get("val/box_loss")),
        val_cls_loss=finite(metrics.get("val/cls_loss")),
        val_dfl_loss=finite(metrics.get("val/dfl_loss")),
        precision=finite(metrics.get("metrics/precision(B)")),
        recall=finite(metrics.get("metrics/recall(B)")),
        map50=finite(metrics.get("metrics/mAP50(B)")),
        map50_95=finite(metrics.get("metrics/mAP50-95(B)")),
        learning_rate=finite(float(next(iter(trainer.lr.values()), 0.0))),
        seconds=round(seconds, 2),
    )


def _no_font(_font: str = "") -> None:
    """In place of a font's path."""


def _amp_without_download(model: torch.nn.Module) -> bool:
    """Mixed precision where the device has it.

    ultralytics' own check compares two inferences of a model that it downloads; here the check
    is that half precision gives finite numbers on the model that is about to be trained.
    """
    device = next(model.parameters()).device
    if device.type != "cuda":
        return False
    was_training = model.training
    probe = torch.zeros(1, 3, 64, 64, device=device)
    with torch.no_grad(), torch.autocast("cuda"):
        model.eval()
        output = model(probe)
    model.train(was_training)
    output = output[0] if isinstance(output, list | tuple) else output
    return bool(torch.isfinite(output).all())


def finish_checkpoint(checkpoint: Path, weights: Path) -> None:
    """Write a checkpoint's averaged weights as the final `.pt`, which ultralytics opens as its own.

    Left behind are the optimizer, and what would tell of this machine or make two equal trainings
    differ: paths, dates, durations, and the git remote of the folder it ran in.
    """
    content, _ = torch_safe_load(checkpoint, safe_only=True)
    model = content["ema"].half()
    for parameter in model.parameters():
        parameter.requires_grad = False
    args = {k: v for k, v in content["train_args"].items() if k not in _LOCAL_ARGS}
    model.args = args
    torch.save(
        {
            "epoch": -1,
            "model": model,
            "train_args": args,
            "train_metrics": {k: float(v) for k, v in content["train_metrics"].items()},
            "version": content["version"],
            "license": content["license"],
            "docs": content["docs"],
        },
        weights,
    )


_LOCAL_ARGS = ("data", "device", "model", "name", "project", "resume", "save_dir", "workers")
"""Arguments that say where a training ran, not what it did."""


def export_onnx(weights: Path, destination: Path, *, image_size: int) -> None:
    """Export a detector to ONNX: one input `images` (n, 3, s, s) float32 in 0..1, RGB.

    Args:
        weights: A `.pt` of `finish_checkpoint`.
        destination: The `.onnx` file.
        image_size: Side of the square input, pixels.
    """
    model = _model_of(weights)
    # It would be written into the file, and is the trainer's scratch folder.
    model.args = {**model.args, "data": None}
    with tempfile.TemporaryDirectory() as scratch:
        # The exporter writes beside the file it believes the model came from.
        model.pt_path = str(Path(scratch) / "weights.pt")
        exporter = Exporter(
            overrides={
                "format": "onnx",
                "imgsz": image_size,
                "batch": 1,
                "dynamic": True,
                "simplify": False,
                "opset": ONNX_OPSET,
                "device": "cpu",
                "task": "detect",
                "mode": "export",
            }
        )
        with warnings.catch_warnings():
            # ultralytics chooses between torch's two exporters, and the older one says its age.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            exported = Path(exporter(model=model))
        proto = onnx.load(exported)
    # The moment of export would give equal models different bytes.
    kept = [entry for entry in proto.metadata_props if entry.key != "date"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    onnx.save(proto, destination)


def torch_outputs(weights: Path, images: np.ndarray) -> np.ndarray:
    """The PyTorch model's raw output for a batch, to hold an export against.

    Args:
        images: (n, 3, s, s) float32 in 0..1.
    """
    model = _model_of(weights).fuse(verbose=False)
    for module in model.modules():
        if hasattr(module, "export"):
            module.export = True
            module.format = "onnx"
    with torch.inference_mode():
        output = model(torch.from_numpy(images))
    first = output[0] if isinstance(output, list | tuple) else output
    return np.asarray(first)


def _model_of(weights: Path) -> Any:
    model, _ = load_checkpoint(str(weights))
    return model.float().eval()
