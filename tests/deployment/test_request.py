from __future__ import annotations

from typing import Any

import pytest

from tests.deployment.site import request_of
from yololine.errors import UsageError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"service_name": "Castings"}, "must be 1 to 41 lower-case letters"),
        ({"service_name": "1castings"}, "begin with a letter"),
        ({"service_name": "c" * 42}, "must be 1 to 41"),
        ({"service_name": "castings-shadow"}, "and not in -shadow"),
        ({"storage_uri": "/data/line/models/castings/v1"}, "does not begin with s3://"),
        ({"gpu_count": "one"}, "is no whole number"),
        ({"replicas_min": 3, "replicas_max": 2}, "is less than replicas_min=3"),
    ],
)
def test_what_kserve_would_stumble_over_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        request_of("v1", **changes)


def test_the_longest_name_still_fits_a_label_with_its_shadow() -> None:
    name = request_of("v1", service_name="c" * 41).service_name
    assert len(f"isvc.{name}-shadow-predictor") == 63
