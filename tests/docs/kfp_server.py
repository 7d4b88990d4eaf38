"""A stand-in for the API server of Kubeflow Pipelines: what `kfp.Client` asks of it, and no more.

It refuses what the real one refuses (backend/src/apiserver/template/v2_template.go of 2.17): a
package that is no pipeline, a parameter that is missing, unknown or of another type, a schedule
that is no cron of six fields. Nothing is run.
"""

from __future__ import annotations

import json
import re
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

API = "/apis/v2beta1"
MADE = "2026-01-05T02:00:00Z"
KINDS = {
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}
MANY = {"pipeline": "pipelines", "pipeline_version": "pipeline_versions"}
MANY |= {"experiment": "experiments", "run": "runs", "recurring_run": "recurring_runs"}


class Refused(Exception):
    """An answer with HTTP 400."""


class KfpServer:
    """What was asked for, by kind: each a list of the API's own objects, oldest first."""

    def __init__(self) -> None:
        """Listen on a free port; nothing is answered before `start`."""
        self.pipelines: list[dict[str, Any]] = []
        self.pipeline_versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.recurring_runs: list[dict[str, Any]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def start(self) -> None:
        """Answer, in a thread, until `stop`."""
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Return once the port is closed."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any]:
        """The answer to a request; `body` is a package's bytes, or what JSON held."""
        match method, path.removeprefix(API).strip("/").split("/"):
            case "GET", ["healthz"]:
                return {"multi_user": False}
            case "POST", ["pipelines", "upload"]:
                return self._upload(query, body)
            case "POST", ["pipelines", "upload_version"]:
                self._one("pipeline", query["pipelineid"])
                return self._version(query["pipelineid"], query["name"], _pipeline(body))
            case "GET", ["pipelines", owner, "versions"]:
                return self._list("pipeline_version", query, owner)
            case "GET", [("pipelines" | "experiments" | "runs" | "recurringruns") as many]:
                return self._list(many.removesuffix("s").replace("gr", "g_r"), query)
            case "GET", ["runs", run_id]:
                # A run is over as soon as it is asked for.
                return self._one("run", run_id) | {"state": "SUCCEEDED"}
            case "POST", ["experiments"]:
                return self._add("experiment", body)
            case "POST", ["runs"]:
                self._check(body)
                return self._add("run", body)
            case "POST", ["recurringruns"]:
                self._check(body)
                _check_schedule(body)
                return self._add("recurring_run", body)
            case "POST", ["recurringruns", which] if which.endswith(":disable"):
                self._one("recurring_run", which.removesuffix(":disable"))["mode"] = "DISABLE"
                return {}
        raise Refused(f"this stand-in knows no {method} {path}")

    def _upload(self, query: dict[str, str], package: bytes) -> dict[str, Any]:
        spec = _pipeline(package)
        if any(known["display_name"] == query["name"] for known in self.pipelines):
            raise Refused(f"The name {query['name']} already exists")
        made = self._add("pipeline", {"display_name": query["name"]})
        self._version(made["pipeline_id"], query["name"], spec)
        return made

    def _version(self, pipeline_id: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        content = {"pipeline_id": pipeline_id, "display_name": name, "pipeline_spec": spec}
        return self._add("pipeline_version", content)

    def _check(self, run: dict[str, Any]) -> None:
        if not any(known["experiment_id"] == run["experiment_id"] for known in self.experiments):
            raise Refused(f"there is no experiment {run['experiment_id']}")
        if reference := run.get("pipeline_version_reference"):
            version = self._one("pipeline_version", reference["pipeline_version_id"])
            if version["pipeline_id"] != reference["pipeline_id"]:
                raise Refused("the version belongs to another pipeline")
            spec = version["pipeline_spec"]
        else:
            spec = _checked(run["pipeline_spec"])
        given = run["runtime_config"].get("parameters", {})
        wanted = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
        for name, parameter in wanted.items():
            kinds = KINDS[parameter["parameterType"]]
            if name in given:
                # Python's bool is an int; the protocol's is not.
                if isinstance(given[name], bool) != (kinds == (bool,)) or not isinstance(
                    given[name], kinds
                ):
                    raise Refused(
                        f"input parameter {name} requires type {parameter['parameterType']}, but "
                        f"the parameter value is {given[name]!r}"
                    )
            elif "defaultValue" not in parameter and not parameter.get("isOptional"):
                raise Refused(f"parameter {name} is not optional, yet has no value")
        if extra := sorted(set(given) - set(wanted)):
            raise Refused(f"parameter(s) provided are not required by pipeline: {extra}")

    def _known(self, kind: str) -> list[dict[str, Any]]:
        known: list[dict[str, Any]] = getattr(self, MANY[kind])
        return known

    def _add(self, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        made = content | {f"{kind}_id": f"{kind}-{len(self._known(kind)) + 1}", "created_at": MADE}
        self._known(kind).append(made)
        return made

    def _one(self, kind: str, wanted_id: str) -> dict[str, Any]:
        for known in self._known(kind):
            if known[f"{kind}_id"] == wanted_id:
                return known
        raise Refused(f"there is no {kind} {wanted_id}")

    def _list(self, kind: str, query: dict[str, str], owner: str = "") -> dict[str, Any]:
        found = [known for known in self._known(kind) if owner in ("", known.get("pipeline_id"))]
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            found = [
                known for known in found if known[predicate["key"]] == predicate["stringValue"]
            ]
        if query.get("sort_by") == "created_at desc":
            found.reverse()
        return {MANY[kind]: found}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def log_message(self, *args: Any) -> None:
                """Keep the tests' output to itself."""

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                try:
                    code = 200
                    answer = server.answer(self.command, parts.path, query, self._body())
                except (Refused, LookupError, ValueError) as refusal:
                    code, answer = 400, {"error": f"{type(refusal).__name__}: {refusal}"}
                content = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _body(self) -> Any:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kind = self.headers.get("Content-Type", "")
                if not kind.startswith("multipart/"):
                    return json.loads(content or b"{}")
                head = f"Content-Type: {kind}\r\n\r\n".encode()
                (part,) = BytesParser(policy=HTTP).parsebytes(head + content).iter_parts()
                return part.get_payload(decode=True)

        return Handler


def _pipeline(package: bytes) -> dict[str, Any]:
    """The pipeline spec of an uploaded YAML; its second document is the platform's."""
    spec, *platform = yaml.load_all(package, Loader=yaml.CSafeLoader)
    if len(platform) > 1 or any(document.keys() != {"platforms"} for document in platform):
        raise Refused("a package is a pipeline spec and at most one platform spec")
    return _checked(spec)


def _checked(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec that the protocol's own reader takes; submitted ones stand below `pipeline_spec`."""
    spec = spec.get("pipeline_spec", spec)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    return spec


def _check_schedule(body: dict[str, Any]) -> None:
    cron = body["trigger"].get("cron_schedule", {}).get("cron", "")
    if not re.fullmatch(r"\S+( \S+){5}", cron):
        raise Refused(f"cron {cron!r} has not six fields")
    if body["mode"] != "ENABLE" or not body["no_catchup"] or int(body["max_concurrency"]) != 1:
        raise Refused("the docs' schedules are on, catch nothing up and never overlap")
