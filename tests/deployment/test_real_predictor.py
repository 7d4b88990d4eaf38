"""From the registry to the endpoint with nothing in between played but KServe and the nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deployment.site import Site, picture, request_of
from tests.serving.models import bright_model, golden_of, register_model
from yololine.errors import DeploymentError

pytestmark = pytest.mark.server


def test_the_endpoint_answers_as_evaluation_did_or_the_version_before_comes_back(
    site: Site, tmp_path: Path
) -> None:
    model = bright_model(tmp_path / "model.onnx")
    golden = golden_of(model, {f"{shade}.jpg": picture(shade) for shade in (40, 200)})
    assert sum(len(image.detections.scores) for image in golden.images) == 3
    first = register_model(tmp_path / "store", model, key="a" * 64)
    request = request_of(first.version)
    site.kserve.folders[request.storage_uri] = tmp_path / "store" / first.folder
    outcome = site.deploy(request, golden)
    assert (outcome.version, outcome.golden_checked) == (first.version, 2)

    # Another version, but what answers at its endpoint is still the first one.
    second = register_model(tmp_path / "other", model, key="b" * 64)
    changed = request_of(second.version)
    site.kserve.folders[changed.storage_uri] = tmp_path / "store" / first.folder
    with pytest.raises(DeploymentError) as raised:
        site.deploy(changed, golden)
    assert f"is answered by version {first.version}, not {second.version}" in str(raised.value)
    assert f"version {first.version} was restored, and answers" in str(raised.value)
