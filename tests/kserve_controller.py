"""What KServe's controller does of InferenceServices in Standard mode, in little, and its faults.

The Deployment is made as KServe 0.21 makes it: annotations of the InferenceService and of its
predictor go to the pods, and so does the storage URI. The InferenceService's observedGeneration is
the Deployment's. By default and with the autoscaler class `hpa` there is a HorizontalPodAutoscaler,
and the Deployment's size is left to it; with `none` there is none, and the size is minReplicas.
Requests to `status.url` are answered by what the ready pods would serve.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.kubelet import FATE
from tests.serving.running import Running

GROUP, VERSION = "serving.kserve.io", "v1beta1"
MODEL_VERSION = "yololine/version"
CONTAINER = "kserve-container"

Model = Callable[[bytes, Mapping[str, str]], dict[str, Any]]
"""Encoded picture and query -> a prediction, as the predictor answers it."""


class KServe:
    """The controller of one namespace, in a thread.

    Attributes:
        models: Version -> what it answers; without one, nothing is found in any picture.
        folders: Storage URI -> folder: a real predictor is started on it, and answers.
        fates: Version -> what becomes of its pods (`tests.kubelet.FATE`).
        answers_as: Version -> the version it says it is.
        lies: Say Ready=True whatever the pods do.
        asleep: Do nothing.
        mode: `status.deploymentMode`.
        address: `status.address.url` of every service, instead of the true one.
        says: Fields of the status that it goes on to say, whatever is true.
    """

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self.models: dict[str, Model] = {}
        self.folders: dict[str, Path] = {}
        self.fates: dict[str, str] = {}
        self.answers_as: dict[str, str] = {}
        self.lies = False
        self.asleep = False
        self.mode = "Standard"
        self.address = ""
        self.says: dict[str, Any] = {}
        self.requests: list[tuple[str, str]] = []
        """(service, version) of each picture that was answered."""
        self._custom = client.CustomObjectsApi(api_client)
        self._apps = client.AppsV1Api(api_client)
        self._core = client.CoreV1Api(api_client)
        self._autoscaling = client.AutoscalingV2Api(api_client)
        self._scaled: dict[str, dict[str, Any]] = {}
        self._api_client = api_client
        self._fronts: dict[str, ThreadingHTTPServer] = {}
        self._rotation: dict[str, list[tuple[str, str]]] = {}
        self._predictors: dict[tuple[str, str], Running] = {}
        self._starting = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kserve", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        for front in self._fronts.values():
            front.shutdown()
            front.server_close()
        for predictor in self._predictors.values():
            predictor.__exit__()

    def url_of(self, service: str) -> str:
        """Where a service answers."""
        return f"http://127.0.0.1:{self._fronts[service].server_address[1]}"

    # Reconciling.

    def _run(self) -> None:
        while not self._done.wait(0.05):
            if self.asleep:
                continue
            # Objects come, go and change under it, as under the true one.
            with suppress(ApiException, urllib3.exceptions.HTTPError):
                for service in self._custom.list_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, "inferenceservices"
                )["items"]:
                    self._reconcile(service)

    def _reconcile(self, service: dict[str, Any]) -> None:
        name = service["metadata"]["name"]
        predictor = service["spec"]["predictor"]
        try:
            runtime = self._custom.get_namespaced_custom_object(
                GROUP, "v1alpha1", self.namespace, "servingruntimes", predictor["model"]["runtime"]
            )
        except ApiException as error:
            if error.status != 404:
                raise
            failure = {"reason": "RuntimeNotRecognized", "message": "Waiting for runtime"}
            self._say(
                service,
                {
                    "deploymentMode": self.mode,
                    "modelStatus": {
                        "transitionStatus": "InvalidSpec",
                        "lastFailureInfo": failure,
                    },
                },
            )
            return
        wanted = deployment_of(service, runtime, fate=self.fates.get(_version(service), ""))
        deployment = self._put(wanted)
        self._scale(service, wanted)
        pods = self._core.list_namespaced_pod(
            self.namespace, label_selector=f"serving.kserve.io/inferenceservice={name}"
        ).items
        ready = [pod for pod in pods if _is_ready(pod) and not pod.metadata.deletion_timestamp]
        self._rotation[name] = [
            (
                pod.metadata.labels.get(MODEL_VERSION, ""),
                pod.metadata.annotations.get(
                    "internal.serving.kserve.io/storage-initializer-sourceuri", ""
                ),
            )
            for pod in ready
        ]
        if name not in self._fronts:
            self._fronts[name] = self._open(name)
        available = (deployment.status.available_replicas or 0) > 0
        condition = "True" if available or self.lies else "False"
        self._say(
            service,
            {
                "deploymentMode": self.mode,
                "url": self.url_of(name),
                "address": {"url": self.address or self.url_of(name)},
                "observedGeneration": deployment.status.observed_generation or 0,
                "conditions": [
                    {"type": kind, "status": condition} for kind in ("PredictorReady", "Ready")
                ],
                "modelStatus": {
                    "transitionStatus": "UpToDate" if condition == "True" else "InProgress",
                },
            },
        )

    def _put(self, wanted: dict[str, Any]) -> client.V1Deployment:
        name = wanted["metadata"]["name"]
        try:
            standing = self._apps.read_namespaced_deployment(name, self.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return self._apps.create_namespaced_deployment(self.namespace, wanted)
        before = standing.spec.template.metadata.annotations.get("tests.kserve/wanted")
        if before == wanted["spec"]["template"]["metadata"]["annotations"]["tests.kserve/wanted"]:
            return standing
        # A merge keeps what is left out, as KServe's own does; a fate must go.
        wanted["spec"]["template"]["metadata"]["annotations"].setdefault(FATE, None)
        return self._apps.patch_namespaced_deployment(name, self.namespace, wanted)

    def _scale(self, service: dict[str, Any], deployment: dict[str, Any]) -> None:
        """Make, change or delete the autoscaler, where that is not done yet."""
        name = deployment["metadata"]["name"]
        wanted = autoscaler_of(service, deployment)
        if wanted == self._scaled.get(name):
            return
        standing = self._scaled.pop(name, None)
        scalers = self._autoscaling
        try:
            if wanted is None:
                scalers.delete_namespaced_horizontal_pod_autoscaler(name, self.namespace)
            elif standing:
                scalers.replace_namespaced_horizontal_pod_autoscaler(name, self.namespace, wanted)
            else:
                scalers.create_namespaced_horizontal_pod_autoscaler(self.namespace, wanted)
        except ApiException as error:
            # It went with an earlier InferenceService of this name.
            if error.status != 404:
                raise
        else:
            if wanted:
                self._scaled[name] = wanted

    def _say(self, service: dict[str, Any], status: dict[str, Any]) -> None:
        status |= self.says
        if service.get("status") == status:
            return
        self._custom.patch_namespaced_custom_object_status(
            GROUP,
            VERSION,
            self.namespace,
            "inferenceservices",
            service["metadata"]["name"],
            {"status": status},
            field_manager="kserve",
        )

    # Answering.

    def _open(self, name: str) -> ThreadingHTTPServer:
        controller = self

        class Front(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(*controller._look(name, self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._reply(*controller._detect(name, self.path, body, dict(self.headers)))

            def _reply(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", body["location"])
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        front = ThreadingHTTPServer(("127.0.0.1", 0), Front)
        front.daemon_threads = True
        threading.Thread(target=front.serve_forever, args=(0.05,), daemon=True).start()
        return front

    def _next(self, name: str) -> tuple[str, str] | None:
        pods = self._rotation.get(name) or []
        return pods[len(self.requests) % len(pods)] if pods else None

    def _look(self, name: str, path: str) -> tuple[int, dict[str, Any]]:
        if (found := self._next(name)) is None:
            return 503, {"error": "no pod is ready"}
        version, uri = found
        if uri in self.folders:
            return self._pass_on(uri, name, "GET", path)
        if path == f"/v2/models/{name}":
            return 200, {"name": name, "versions": [self.answers_as.get(version, version)]}
        return 200, {"live": True}

    def _detect(
        self, name: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        if (found := self._next(name)) is None:
            return 503, {"error": "no pod is ready"}
        version, uri = found
        self.requests.append((name, version))
        if uri in self.folders:
            return self._pass_on(uri, name, "POST", path, body, headers)
        parts = urlsplit(path)
        if parts.path != f"/v1/models/{name}:predict":
            return 404, {"error": f"no model at {parts.path}"}
        model = self.models.get(version, nothing_found)
        query = dict(pair.split("=") for pair in parts.query.split("&") if pair)
        answer = model(body, query)
        if "status" in answer:
            return answer["status"], answer
        return 200, {
            "predictions": [answer],
            "model_name": name,
            "model_version": self.answers_as.get(version, version),
        }

    def _predictor_of(self, uri: str, name: str) -> Running:
        with self._starting:
            # A shadow serves the same version under its own name.
            if (name, uri) not in self._predictors:
                started = Running(self.folders[uri], "--model-name", name).ready()
                self._predictors[name, uri] = started
            return self._predictors[name, uri]

    def _pass_on(
        self,
        uri: str,
        name: str,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        url = self._predictor_of(uri, name).url
        kept = {k: v for k, v in (headers or {}).items() if k.lower() == "content-type"}
        try:
            answer = urllib3.request(method, url + path, body=body, headers=kept, retries=False)
        except urllib3.exceptions.HTTPError as error:
            return 503, {"error": str(error)}
        try:
            return answer.status, answer.json()
        except ValueError:
            return answer.status, {"text": answer.data.decode(errors="replace")}


def nothing_found(*_: object) -> dict[str, Any]:
    """A prediction without detections."""
    return {"boxes_xyxy": [], "scores": [], "class_ids": [], "class_names": []}


def deployment_of(
    service: dict[str, Any], runtime: dict[str, Any], *, fate: str = ""
) -> dict[str, Any]:
    """The Deployment that KServe makes of an InferenceService and its ServingRuntime."""
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    name = metadata["name"]
    (base,) = [c for c in runtime["spec"]["containers"] if c["name"] == CONTAINER]
    own = {k: v for k, v in predictor["model"].items() if k in {"image", "resources", "env"}}
    container = {**copy.deepcopy(base), **own}
    container = json.loads(json.dumps(container).replace("{{.Name}}", name))
    annotations = {
        **(runtime["spec"].get("annotations") or {}),
        **(metadata.get("annotations") or {}),
        **(predictor.get("annotations") or {}),
        "internal.serving.kserve.io/storage-initializer-sourceuri": predictor["model"][
            "storageUri"
        ],
        **({FATE: fate} if fate else {}),
    }
    labels = {
        **(metadata.get("labels") or {}),
        "app": f"isvc.{name}-predictor",
        "component": "predictor",
        "serving.kserve.io/inferenceservice": name,
    }
    kept = (
        "serviceAccountName",
        "automountServiceAccountToken",
        "terminationGracePeriodSeconds",
        "securityContext",
        "nodeSelector",
        "tolerations",
    )
    pod = {
        **{key: predictor[key] for key in kept if key in predictor},
        "volumes": runtime["spec"].get("volumes") or [],
        "initContainers": [
            {
                "name": "storage-initializer",
                "image": "kserve/storage-initializer",
                "securityContext": container.get("securityContext"),
                "resources": {
                    "requests": {"cpu": "100m", "memory": "100Mi"},
                    "limits": {"cpu": "1", "memory": "1Gi"},
                },
            }
        ],
        "containers": [container],
    }
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": labels["app"]}},
        "strategy": predictor.get("deploymentStrategy"),
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }
    if annotations.get("serving.kserve.io/autoscalerClass") == "none":
        spec["replicas"] = predictor.get("minReplicas", 1)
    annotations["tests.kserve/wanted"] = str(abs(hash(json.dumps(spec, sort_keys=True))))
    owner = {
        "apiVersion": service["apiVersion"],
        "kind": service["kind"],
        "name": name,
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{name}-predictor",
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def autoscaler_of(service: dict[str, Any], deployment: dict[str, Any]) -> dict[str, Any] | None:
    """The HorizontalPodAutoscaler that KServe makes, with what it takes where nothing is said."""
    annotations = service["metadata"].get("annotations") or {}
    if annotations.get("serving.kserve.io/autoscalerClass", "hpa") != "hpa":
        return None
    predictor = service["spec"]["predictor"]
    least = max(1, predictor.get("minReplicas") or 1)
    target = {"type": "Utilization", "averageUtilization": predictor.get("scaleTarget", 80)}
    metric = {"name": predictor.get("scaleMetric", "cpu"), "target": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {**deployment["metadata"], "annotations": dict(annotations)},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment["metadata"]["name"],
            },
            "minReplicas": least,
            "maxReplicas": max(least, predictor.get("maxReplicas") or 0),
            "metrics": [{"type": "Resource", "resource": metric}],
            "behavior": {},
        },
    }


def _version(service: dict[str, Any]) -> str:
    return str((service["metadata"].get("labels") or {}).get(MODEL_VERSION, ""))


def _is_ready(pod: client.V1Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())


def wait_until(condition: Callable[[], Any], *, seconds: float = 30) -> Any:
    """The condition's first true value; the deadline is for a test that would hang."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > ends:
            raise TimeoutError
        time.sleep(0.05)
    return found
