from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from yololine.deployment.causes import creation_cause, model_status_cause, most_telling, pod_cause


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "castings-predictor-1"}, "status": status}


def container(**said: Any) -> dict[str, Any]:
    return {"name": "kserve-container", **said}


def waiting(reason: str, **said: Any) -> dict[str, Any]:
    return container(state={"waiting": {"reason": reason, "message": "because"}}, **said)


def ended(exit_code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("status", "kind", "final", "words"),
    [
        (
            {"containerStatuses": [waiting("ImagePullBackOff")]},
            "ImagePullBackOff",
            True,
            "because",
        ),
        (
            {"containerStatuses": [waiting("CreateContainerConfigError")]},
            "CreateContainerConfigError",
            True,
            "because",
        ),
        (
            {
                "containerStatuses": [
                    waiting("CrashLoopBackOff", lastState=ended(3, message="first\nlast\n"))
                ]
            },
            "CrashLoopBackOff",
            True,
            "exit code 3; its last words: first | last",
        ),
        (
            {"containerStatuses": [waiting("CrashLoopBackOff", lastState=ended(3))]},
            "CrashLoopBackOff",
            True,
            "its last words: from the log",
        ),
        (
            {"containerStatuses": [container(state=ended(1), restartCount=1)]},
            "CrashLoopBackOff",
            True,
            "exit code 1",
        ),
        (
            {"containerStatuses": [container(state=ended(137, "OOMKilled"))]},
            "OOMKilled",
            True,
            "killed for memory",
        ),
        (
            {
                "initContainerStatuses": [
                    {**waiting("CrashLoopBackOff"), "name": "storage-initializer"}
                ]
            },
            "CrashLoopBackOff",
            True,
            "container storage-initializer",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                    }
                ]
            },
            "Unschedulable",
            False,
            "3 Insufficient nvidia.com/gpu",
        ),
        ({"phase": "Failed", "reason": "Evicted"}, "PodFailed", False, "Evicted"),
    ],
)
def test_why_a_pod_is_not_up(status: dict[str, Any], kind: str, final: bool, words: str) -> None:
    cause = pod_cause(pod(**status), log=lambda *_: "from the log\n")
    assert cause is not None
    assert (cause.kind, cause.final) == (kind, final)
    assert words in cause.words


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"containerStatuses": [container(state={"running": {}})]},
        # A registry that hiccups is asked again.
        {"containerStatuses": [waiting("ErrImagePull")]},
        # One end is no loop: it may have waited for something.
        {"containerStatuses": [container(state=ended(1), restartCount=0)]},
        {"initContainerStatuses": [container(state=ended(0, "Completed"), restartCount=0)]},
        {"conditions": [{"type": "PodScheduled", "status": "True"}]},
    ],
)
def test_a_pod_on_its_way_has_no_cause(status: dict[str, Any]) -> None:
    assert pod_cause(pod(**status), log=lambda *_: "") is None


def test_last_words_are_the_end_of_them() -> None:
    message = "x" * 5000 + "\nValueError: the end"
    found = pod_cause(
        pod(containerStatuses=[waiting("CrashLoopBackOff", lastState=ended(1, message=message))]),
        log=lambda *_: "",
    )
    assert found is not None
    assert found.words.endswith("ValueError: the end")
    assert len(found.words) < 800


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ('pods "x" is forbidden: exceeded quota: gpus', "quota"),
        ('error looking up service account a/b: serviceaccount "b" not found', "account"),
        ('pods "x" is forbidden: violates PodSecurity "restricted"', "ServingRuntime"),
        ('violates PodSecurity "restricted": (container "storage-initializer" ...', "patches/"),
    ],
)
def test_why_no_pod_is_made(message: str, remedy: str) -> None:
    cause = creation_cause(message)
    assert message in cause.words
    assert remedy in cause.remedy


def test_what_kserve_says_itself() -> None:
    failure = {"reason": "NoSupportingRuntime", "message": "no such runtime"}
    said = model_status_cause(
        {"modelStatus": {"transitionStatus": "InvalidSpec", "lastFailureInfo": failure}}
    )
    assert said is not None
    assert said.words == "KServe says InvalidSpec (NoSupportingRuntime: no such runtime)"
    assert model_status_cause({"modelStatus": {"transitionStatus": "InProgress"}}) is None
    assert model_status_cause({}) is None


def test_a_final_cause_is_told_first() -> None:
    final = creation_cause("no")
    passing = replace(final, final=False)
    assert most_telling([passing, final]) is final
    assert most_telling([passing]) is passing
    assert most_telling([]) is None
