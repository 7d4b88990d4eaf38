from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.serving.fuzzing import requests, send
from tests.serving.pictures import JPEG, encoded
from tests.serving.running import Running


def test_nothing_that_is_sent_is_a_fault_of_the_server(predictor: Running) -> None:
    pictures = [JPEG, *(encoded(kind=kind) for kind in ("PNG", "BMP", "WEBP", "TIFF"))]
    many = list(requests(pictures, seed=7, count=300))
    with ThreadPoolExecutor(4) as pool:
        statuses = list(
            pool.map(lambda one: send(one, predictor.http_port, timeout_seconds=60), many)
        )
    faults = [
        (status, request)
        for status, request in zip(statuses, many, strict=True)
        if status >= 500 and status != 503
    ]
    assert not faults, faults[:3]
    assert {200, 400, 404, 405} <= set(statuses)
    with predictor.client() as client:
        answer = client.post(
            "/v1/models/steel:predict", content=JPEG, headers={"Content-Type": "image/jpeg"}
        )
        assert answer.status_code == 200
