"""Ask with Triton's gRPC client, by `python -m tests.serving.triton_grpc ADDRESS image|pixels`.

A process of its own: the messages are called as kserve's are, and protobuf takes either once.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tritonclient.grpc

from tests.serving.models import NAME
from tests.serving.pictures import JPEG, pixels

OUTPUTS = ("boxes", "scores", "class_ids", "image_index")


def ask(address: str, form: str) -> dict[str, object]:
    """What the client was told."""
    if form == "pixels":
        given = tritonclient.grpc.InferInput("pixels", [1, 64, 64, 3], "UINT8")
        given.set_data_from_numpy(pixels()[None])
    else:
        given = tritonclient.grpc.InferInput("image", [1], "BYTES")
        given.set_data_from_numpy(np.array([JPEG], np.object_))
    with tritonclient.grpc.InferenceServerClient(address) as client:
        found = client.infer(NAME, [given], parameters={"class_min_scores": '{"scratch": 0.2}'})
        nothing = client.infer(NAME, [given], parameters={"min_score": 0.99})
        one = tritonclient.grpc.InferRequestedOutput("scores")
        chosen = client.infer(NAME, [given], outputs=[one])
        return {
            "up": [client.is_server_live(), client.is_server_ready(), client.is_model_ready(NAME)],
            "versions": list(client.get_model_metadata(NAME).versions),
            "found": {name: found.as_numpy(name).tolist() for name in OUTPUTS}
            | {"class_names": [name.decode() for name in found.as_numpy("class_names")]},
            "nothing": nothing.as_numpy("boxes").shape,
            "chosen": [output.name for output in chosen.get_response().outputs],
        }


if __name__ == "__main__":
    print(json.dumps(ask(*sys.argv[1:])))  # noqa: T201
