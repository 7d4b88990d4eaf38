"""A cluster's API, as plain mappings: read, apply, watch; with patience where it is not well.

An upgrade of a control plane, a load balancer that forgets its connections, an etcd that compacts:
each lasts seconds to a minute, and none is a reason to give up a rollout.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from yololine.cluster.refusals import Refusal, refusal
from yololine.cluster.resources import PODS, Resource
from yololine.errors import ClusterError

FIELD_MANAGER = "yololine"
"""Under this name the API server keeps which fields are ours."""
PATIENCE_SECONDS = 60
FIRST_PATIENCE_SECONDS = 8
"""Before the server has answered once: a wrong address is reported in seconds."""
CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
_APPLY = "application/apply-patch+yaml"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_LONGEST_LOG = 20_000
_PASSING = {429, 500, 502, 503, 504}

Object = dict[str, Any]
"""A Kubernetes object as JSON has it."""


class Cluster:
    """One cluster's API server, seen from one namespace; safe to share between threads.

    Every method raises ClusterError where the server stays out of reach for `patience_seconds`, and
    its subclass Refusal for an answer that is an error.
    """

    def __init__(
        self, client: ApiClient, *, namespace: str, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Use a client; `connect` makes one.

        Args:
            client: With the server's address and the credentials.
            namespace: Of everything that is read or written.
            patience_seconds: How long a server that is not well is asked again.
        """
        self.namespace = namespace
        self.server = str(client.configuration.host)
        self._client = client
        self._patience_seconds = patience_seconds
        self._answered = False

    def with_patience(self, seconds: float) -> Cluster:
        """The same, for somebody who cannot wait longer than this for an answer."""
        hurried = copy.copy(self)
        hurried._patience_seconds = seconds
        return hurried

    def get(self, resource: Resource, name: str) -> Object | None:
        """One object, None where there is none."""
        return self._found(lambda: self._ask("GET", resource.path(self.namespace, name)))

    def metadata(self, resource: Resource, name: str) -> Object | None:
        """One object's metadata alone: of a secret, the values never leave the server."""
        path = resource.path(self.namespace, name)
        return self._found(lambda: self._ask("GET", path, accept=_METADATA))

    def find(self, resource: Resource, *, labels: str = "", fields: str = "") -> list[Object]:
        """The objects of a kind, by label and field selectors."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        answer = self._ask("GET", resource.path(self.namespace), query=query)
        items: list[Object] = answer.get("items") or []
        return items

    def last_words(self, pod: str, container: str) -> str:
        """The end of the log of a container's last life; empty where it cannot be had."""
        path = PODS.path(self.namespace, f"{pod}/log")
        query = {"container": container, "previous": "true", "tailLines": "20"}
        try:
            answer = self._request("GET", path, query=query, accept="*/*")
            return answer.read(_LONGEST_LOG).decode(errors="replace")
        except (ApiException, urllib3.exceptions.HTTPError):
            return ""

    def serves(self, resource: Resource) -> bool:
        """Whether the server knows this kind."""
        path = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
        known = self._found(lambda: self._ask("GET", path)) or {}
        return any(kind["name"] == resource.plural for kind in known.get("resources", ()))

    def apply(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply: the fields in `body` become ours, and ours that it lacks are removed.

        Args:
            resource: Its kind.
            body: The object, with `metadata.name`.
            dry_run: Ask everything (schema, admission, conflicts), change nothing.

        Raises:
            FieldConflict: Somebody else manages some of the fields, with other values. They are
                never taken by force.
        """
        query = {"fieldManager": FIELD_MANAGER, "dryRun": "All" if dry_run else ""}
        path = resource.path(self.namespace, body["metadata"]["name"])
        return self._ask("PATCH", path, query=query, body=body, content=_APPLY, again_on_409=True)

    def create(self, resource: Resource, body: Object) -> Object:
        """Make an object.

        Raises:
            Conflict: There is one of that name.
        """
        query = {"fieldManager": FIELD_MANAGER}
        return self._ask("POST", resource.path(self.namespace), query=query, body=body)

    def replace(self, resource: Resource, body: Object) -> Object:
        """Write an object back.

        Raises:
            Conflict: Somebody else wrote it since its `metadata.resourceVersion`.
        """
        path = resource.path(self.namespace, body["metadata"]["name"])
        return self._ask("PUT", path, query={"fieldManager": FIELD_MANAGER}, body=body)

    def delete(self, resource: Resource, name: str) -> None:
        """Delete an object, and what it owns before it; one that is not there is no error."""
        path = resource.path(self.namespace, name)
        body = {"propagationPolicy": "Foreground"}
        self._found(lambda: self._ask("DELETE", path, body=body))

    def wait_for_change(self, resource: Resource, name: str, *, since: str, seconds: float) -> bool:
        """Wait until an object changes; never longer than `seconds`, and never raises.

        A watch that the server refuses, drops or answers with an error ends the wait early or late,
        and the caller reads the object again either way.

        Args:
            resource: Its kind.
            name: Of the object, which need not exist yet.
            since: `metadata.resourceVersion` that the caller has seen; empty for none.
            seconds: At the most, at least a fraction of one.

        Returns:
            Whether something happened; False where the time ran out, or the watch was of no use.
        """
        ends = time.monotonic() + seconds
        query = {
            "watch": "1",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": since,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        answer: urllib3.BaseHTTPResponse | None = None
        try:
            answer = self._request(
                "GET",
                resource.path(self.namespace),
                query=query,
                timeout=(CONNECT_SECONDS, seconds),
            )
            # An event may be an error too, such as 410 Gone: the caller reads again either way.
            happened = bool(answer.read(1))
            if not happened:
                # Closed before its time, as some proxies do at once: no reason to hammer.
                self._rest(ends)
            return happened
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            if isinstance(error, ApiException) and error.status == 410:
                return True
            if not isinstance(error, urllib3.exceptions.ReadTimeoutError):
                self._rest(ends)
            return False
        finally:
            if answer is not None:
                # Not returned to the pool: more may be under way on it.
                with suppress(Exception):
                    answer.close()

    @staticmethod
    def _rest(ends: float) -> None:
        """Sleep a moment, jittered, so that all who lost their watch do not come back at once."""
        time.sleep(max(0.0, min(ends - time.monotonic(), random.uniform(0.2, 1.0))))

    def _found(self, ask: Callable[[], Object]) -> Object | None:
        try:
            return ask()
        except Refusal as error:
            if error.status == 404:
                return None
            raise

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
        accept: str = "application/json",
        again_on_409: bool = False,
    ) -> Object:
        asked = f"{method} {path}"

        def once() -> Object:
            try:
                answer = self._request(
                    method,
                    path,
                    query=query or {},
                    body=body,
                    content=content,
                    accept=accept,
                    timeout=(CONNECT_SECONDS, min(ANSWER_SECONDS, self._patience_seconds)),
                )
                parsed = json.loads(answer.data)
            except ApiException as error:
                # Of a connection that TLS refuses there is no status, and the reason is all.
                raise refusal(error.status or 0, error.body or error.reason, asked=asked) from error
            self._answered = True
            return parsed if isinstance(parsed, dict) else {}

        def passes(error: BaseException) -> bool:
            if isinstance(error, Refusal):
                # An apply meets a 409 without field conflicts where another write came in between:
                # the next attempt sees it.
                again = _PASSING | {409} if again_on_409 else _PASSING
                return error.status in again and not error.for_good
            return isinstance(error, urllib3.exceptions.HTTPError | ValueError)

        asking = Retrying(
            retry=retry_if_exception(passes),
            stop=stop_after_delay(
                self._patience_seconds
                if self._answered
                else min(FIRST_PATIENCE_SECONDS, self._patience_seconds)
            ),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        try:
            return asking(once)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ClusterError(
                self.server,
                rule=f"does not answer as a Kubernetes API server ({_words(error)})",
                remedy="see that the cluster is up and this address is its own",
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        body: Object | None = None,
        content: str = "application/json",
        accept: str = "application/json",
        timeout: tuple[float, float] = (CONNECT_SECONDS, ANSWER_SECONDS),
    ) -> urllib3.BaseHTTPResponse:
        """One request; an error status is an ApiException."""
        answer: urllib3.BaseHTTPResponse = self._client.call_api(
            path,
            method,
            query_params=[(key, value) for key, value in query.items() if value],
            header_params={"Content-Type": content, "Accept": accept},
            body=body,
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _preload_content=False,
            _request_timeout=timeout,
        )
        return answer


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
