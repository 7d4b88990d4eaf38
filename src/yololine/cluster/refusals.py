"""What the Kubernetes API says when it says no, as errors in words."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from yololine.errors import ClusterError

_MANAGER = re.compile(r'conflict with "([^"]+)"')
_LONGEST_MESSAGE = 500


class Refusal(ClusterError):
    """An answer of the API that is an error, and stays one.

    Attributes:
        status: Of the answer; 0 where there was none.
        reason: Kubernetes' own word, such as `Forbidden` or `NotFound`.
        message: Kubernetes' own sentence.
    """

    status = 0
    reason = ""
    message = ""

    @property
    def for_good(self) -> bool:
        """Whether the same request is refused again, whatever its status promises."""
        # The API server answers 500 to an apply whose fields have other types than the schema's.
        return isinstance(self, FieldConflict) or "failed to create typed patch" in self.message


class Conflict(Refusal):
    """Somebody else wrote the object since it was read, or made one of that name."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A field that somebody else manages."""

    manager: str
    field: str


class FieldConflict(Refusal):
    """A server-side apply would take fields from whoever manages them."""

    claims: tuple[Claim, ...] = ()

    @property
    def who(self) -> str:
        """Managers and their fields, for a person."""
        return whose(self.claims)


def whose(claims: tuple[Claim, ...]) -> str:
    """Managers and their fields, for a person: `kubectl-edit (.spec.x, .spec.y)`."""
    managers = dict.fromkeys(claim.manager for claim in claims)
    return "; ".join(
        f"{manager} ({', '.join(c.field for c in claims if c.manager == manager)})"
        for manager in managers
    )


def refusal(status: int, body: str | bytes | None, *, asked: str) -> Refusal:
    """The error for an answer.

    Args:
        status: HTTP status.
        body: Kubernetes' Status object, or whatever a proxy in front of it says.
        asked: What was asked, such as `get leases/x in team-a`.
    """
    said = _status_object(body)
    reason, message = str(said.get("reason", "")), str(said.get("message", ""))
    if not message:
        text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
        message = " ".join(text.split())
    message = message[:_LONGEST_MESSAGE] or f"HTTP status {status}"
    claims = tuple(
        Claim(manager=_manager(cause.get("message", "")), field=cause.get("field", ""))
        for cause in (said.get("details") or {}).get("causes") or ()
        if cause.get("reason") == "FieldManagerConflict"
    )
    kind: type[Refusal] = Refusal
    remedy = "see the message of the API server"
    if claims:
        kind, remedy = FieldConflict, "agree with whoever manages these fields"
    elif status == 409:
        kind, remedy = Conflict, "read it again"
    elif status == 401:
        remedy = "log in to the cluster again, or name another kubeconfig in KUBECONFIG"
    elif status == 403:
        remedy = (
            "have the permission granted, as manifests/serving/ does for the pipeline's account"
        )
    elif status >= 500 or status == 429:
        remedy = "run again once the API server is well"
    error = kind(asked, rule=f"the API server says no: {message}", remedy=remedy)
    error.status, error.reason, error.message = status, reason, message
    if isinstance(error, FieldConflict):
        error.claims = claims
    return error


def _manager(message: str) -> str:
    found = _MANAGER.search(message)
    return found[1] if found else message


def _status_object(body: str | bytes | None) -> dict[str, Any]:
    with suppress(ValueError):
        said = json.loads(body or "")
        if isinstance(said, dict):
            return said
    return {}
