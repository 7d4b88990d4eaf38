from __future__ import annotations

import json
from typing import Any

import pytest

from yololine.cluster.refusals import Conflict, FieldConflict, Refusal, refusal


def status(code: int, **said: Any) -> bytes:
    return json.dumps({"kind": "Status", "code": code, **said}).encode()


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (404, status(404, message='pods "x" not found'), Refusal, 'pods "x" not found'),
        (403, status(403, message="cannot list nodes"), Refusal, "manifests/serving"),
        (401, status(401, message="Unauthorized"), Refusal, "log in to the cluster again"),
        (409, status(409, message="has been modified"), Conflict, "has been modified"),
        (503, b"<html>bad\n gateway</html>", Refusal, "<html>bad gateway</html>"),
        (500, None, Refusal, "HTTP status 500"),
        (400, b"[1]", Refusal, "[1]"),
    ],
)
def test_a_refusal_in_words(code: int, body: bytes | None, kind: type[Refusal], words: str) -> None:
    error = refusal(code, body, asked="GET /x")
    assert type(error) is kind
    assert error.status == code
    assert words in str(error)


def test_who_manages_what_is_told() -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using serving.kserve.io/v1beta1',
            "field": field,
        }
        for manager, field in (("kubectl", ".spec.a"), ("argocd", ".spec.b"), ("kubectl", ".c"))
    ]
    error = refusal(409, status(409, message="2 conflicts", details={"causes": causes}), asked="x")
    assert isinstance(error, FieldConflict)
    assert error.who == "kubectl (.spec.a, .c); argocd (.spec.b)"
