from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.models import NAME
from tests.serving.pictures import JPEG, encoded
from tests.serving.running import Running

PREDICT = f"/v1/models/{NAME}:predict"


def samples(running: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with running.client() as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_what_prometheus_sees(version_folder: Path) -> None:
    with Running(version_folder) as running:
        running.ready()
        with running.client() as client:
            for grey in (200, 200, 50):
                answer = client.post(
                    PREDICT, content=encoded(grey), headers={"Content-Type": "image/jpeg"}
                )
                assert answer.status_code == 200
            strict = client.post(
                f"{PREDICT}?min_score=0.9", content=JPEG, headers={"Content-Type": "image/jpeg"}
            )
            assert strict.status_code == 200
            client.post(PREDICT, content=b"{")
            client.get("/nowhere")
        seen = samples(running)

    def value(metric: str, /, **labels: str) -> float:
        return seen[metric, tuple(sorted(labels.items()))]

    assert value("yololine_requests_total", route="v1 predict", code="200") == 4
    assert value("yololine_requests_total", route="v1 predict", code="400") == 1
    assert value("yololine_requests_total", route="other", code="404") == 1
    for stage in ("decode", "queue", "infer", "postprocess", "total"):
        assert value("yololine_stage_seconds_count", stage=stage) == 4, stage
    assert value("yololine_batch_pictures_count") == 4
    assert value("yololine_queue_pictures") == 0
    assert value("yololine_detections_total", class_name="scratch") == 2
    assert value("yololine_detections_total", class_name="pit: deep") == 3
    assert value("yololine_pictures_total", found="no") == 1
    assert value("yololine_detection_score_bucket", class_name="scratch", le="0.75") == 0
    assert value("yololine_detection_score_bucket", class_name="scratch", le="0.8") == 2
    assert value("yololine_detection_score_sum", class_name="pit: deep") == pytest.approx(0.9)
    labels = {"name": NAME, "version": "0123456789ab", "engine": "openvino", "device": "CPU"}
    labels["precision"] = "f32"
    assert value("yololine_model_info", **labels) == 1
    assert value("yololine_ready") == 1
    assert not [name for name, _ in seen if name.endswith("_created")]
