from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inference.models import constant_model
from yololine.errors import EvaluationError, UsageError
from yololine.inference.detector import IOU_THRESHOLD, LOWEST_SCORE, Detector
from yololine.inference.engine import load_engine
from yololine.inference.postprocess import Detections

CLASSES = ("crack", "pin hole")
# Two square ones among others, so that some share a batch and some do not.
SIZES = [(128, 128), (640, 480), (480, 640), (1000, 751), (97, 33), (1, 1), (900, 3), (64, 64)]


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def detector(request: pytest.FixtureRequest, real_model: Path) -> Detector:
    """Sees things everywhere."""
    engine = load_engine(real_model, image_size=128, class_count=2, engine=request.param)
    return Detector(engine, CLASSES)


def _picture(width: int, height: int) -> np.ndarray:
    random = np.random.default_rng(width * height)
    return random.integers(0, 255, (height, width, 3), dtype=np.uint8)


def _encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _same(one: Detections, other: Detections, *, atol: float = 0) -> bool:
    return (
        np.array_equal(one.class_ids, other.class_ids)
        and np.allclose(one.scores, other.scores, rtol=0, atol=atol)
        and np.allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=atol)
    )


def test_a_picture_and_its_pixels_give_the_same(detector: Detector) -> None:
    pixels = _picture(200, 100)
    by_file, by_pixels = detector.prepare(_encoded(pixels)), detector.prepare(pixels)
    assert by_file.place == by_pixels.place
    assert by_file.place[-2:] == (200, 100)
    assert np.array_equal(by_file.pixels, by_pixels.pixels)
    one, other = detector.detect([by_file, by_pixels], min_score=0.3)
    assert len(one.scores) > 5
    assert _same(one, other)


def test_pictures_of_any_shape_share_a_call_and_keep_their_order(detector: Detector) -> None:
    prepared = [detector.prepare(_picture(*size)) for size in SIZES]
    together = detector.detect(prepared, min_score=0.3)
    assert len(together) == len(SIZES)
    for (width, height), one, found in zip(SIZES, prepared, together, strict=True):
        (alone,) = detector.detect([one], min_score=0.3)
        assert _same(alone, found)
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= [width, height, width, height]).all()
        assert (found.boxes_xyxy[:, 2:] > found.boxes_xyxy[:, :2]).all()


def test_a_device_takes_those_of_one_shape_at_once(real_model: Path) -> None:
    engine = load_engine(real_model, image_size=128, class_count=2, engine="onnxruntime")
    detector = Detector(engine, CLASSES)
    prepared = [detector.prepare(_picture(*size)) for size in SIZES]
    alone = detector.detect(prepared, min_score=0.3)
    engine.max_batch = 3
    together = detector.detect(prepared, min_score=0.3)
    for one, other in zip(alone, together, strict=True):
        assert _same(one, other, atol=0.05)


def test_threads_do_not_meet(detector: Detector) -> None:
    files = [_encoded(_picture(*size)) for size in SIZES]
    expected = [detector.detect([detector.prepare(file)], min_score=0.3)[0] for file in files]
    together = threading.Barrier(len(files))

    def again(index: int) -> bool:
        together.wait()
        return all(
            _same(detector.detect([detector.prepare(files[index])], min_score=0.3)[0], one)
            for one in [expected[index]] * 5
        )

    with ThreadPoolExecutor(len(files)) as pool:
        assert all(pool.map(again, range(len(files))))


def test_thresholds_are_each_calls_own(detector: Detector) -> None:
    prepared = [detector.prepare(_picture(128, 128))]
    (weak,) = detector.detect(prepared, min_score=LOWEST_SCORE)
    (strong,) = detector.detect(prepared, min_score=0.5)
    assert _same(weak.above(0.5), strong)
    (few,) = detector.detect(prepared, min_score=LOWEST_SCORE, max_detections=3)
    assert np.array_equal(few.scores, weak.scores[:3])
    (all_,) = detector.detect(prepared, min_score=0.5, iou_threshold=1)
    assert len(all_.scores) >= len(strong.scores)
    (as_default,) = detector.detect(prepared, min_score=0.5, iou_threshold=IOU_THRESHOLD)
    assert _same(as_default, strong)
    assert detector.detect([], min_score=0.5) == []


def test_a_graph_of_one_shape_is_given_the_square(tmp_path: Path) -> None:
    output = np.zeros((1, 6, 84), np.float32)
    output[0, :, 7] = (32, 32, 32, 32, 0, 0.9)
    for shape, top in (((1, 3, 64, 64), 16), (("n", 3, "h", "w"), 0)):
        model = constant_model(output, tmp_path / "model.onnx", input_shape=shape)
        detector = Detector(load_engine(model, image_size=64, class_count=2), CLASSES)
        prepared = detector.prepare(_picture(128, 64))
        assert prepared.pixels.shape == (3, 32 + 2 * top, 64)
        (found,) = detector.detect([prepared], min_score=0.5)
        assert found.boxes_xyxy.tolist() == [[32, 32 - 2 * top, 96, 96 - 2 * top]] or top == 0
        assert found.class_ids.tolist() == [1]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
    ],
)
def test_other_pixels_are_refused(pixels: np.ndarray, detector: Detector) -> None:
    with pytest.raises(UsageError, match=r"is no picture of RGB pixels; give \(height, width, 3\)"):
        detector.prepare(pixels)


def test_what_is_no_picture_is_refused(detector: Detector) -> None:
    with pytest.raises(UsageError, match="is no picture that can be read"):
        detector.prepare(b"no picture")


@pytest.mark.parametrize("layout", ["raw", "end2end"])
def test_a_model_that_gives_no_numbers_is_told(layout: str, tmp_path: Path) -> None:
    """No threshold lets NaN through: it would look as if nothing was to be seen."""
    output = np.zeros((1, 6, 84) if layout == "raw" else (1, 84, 6), np.float32)
    output[0, 4, 5] = np.nan
    model = constant_model(output, tmp_path / "model.onnx")
    detector = Detector(load_engine(model, image_size=64, class_count=2), CLASSES)
    with pytest.raises(EvaluationError, match="the model's output: holds NaN or infinity; train"):
        detector.detect([detector.prepare(_picture(64, 64))], min_score=0.5)
