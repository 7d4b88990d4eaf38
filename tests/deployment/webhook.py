"""An admission webhook that the API server asks about every InferenceService of a namespace."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kubernetes import client

from tests.kubernetes_api import KubernetesApi

Answer = Callable[[dict[str, Any]], str]
"""An AdmissionRequest -> why it is denied, empty where it is not."""


@contextmanager
def admission(api: KubernetesApi, namespace: str, answer: Answer) -> Iterator[None]:
    """Have every write of an InferenceService asked about while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            denied = answer(asked)
            response: dict[str, Any] = {"uid": asked["uid"], "allowed": not denied}
            if denied:
                response["status"] = {"code": 403, "message": denied}
            review = {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "response": response,
            }
            data = json.dumps(review).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(api.folder / "server.crt", api.folder / "server.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    authority = base64.b64encode((api.folder / "server.crt").read_bytes()).decode()
    rule = {
        "apiGroups": ["serving.kserve.io"],
        "apiVersions": ["*"],
        "resources": ["inferenceservices"],
        "operations": ["CREATE", "UPDATE"],
    }
    webhook = {
        "name": "rules.tests.yololine",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_address[1]}/",
            "caBundle": authority,
        },
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "admissionReviewVersions": ["v1"],
    }
    with api.api_client() as made:
        registration = client.AdmissionregistrationV1Api(made)
        registration.create_validating_webhook_configuration(
            {"metadata": {"name": namespace}, "webhooks": [webhook]}
        )
        try:
            yield
        finally:
            registration.delete_validating_webhook_configuration(namespace)
            server.shutdown()
            server.server_close()
