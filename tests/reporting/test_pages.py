from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from yololine.reporting.pages import render_run_report, render_step_page
from yololine.telemetry.endings import Continuation
from yololine.telemetry.records import (
    STEPS,
    Attempt,
    EpochProgress,
    ErrorRecord,
    StepRecord,
    StepState,
)
from yololine.telemetry.runs import RunState

VOID = {"br", "hr", "img", "input", "link", "meta"}
HOSTILE = "<script>alert(1)</script>\"'&amp;"
SHOWN = [step for step in STEPS if step != "report_run"]


class Page(HTMLParser):
    """Reads a page and refuses tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = Counter(name for name, _ in attrs)
        assert max(names.values(), default=1) == 1, f"{tag}: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open[-1:]):
            self.words.append(data)

    @property
    def said(self) -> str:
        """The page's words, with one plain space for every gap."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]


def report(run: Any, **changes: Any) -> Page:
    return Page(render_run_report(**{**run.arguments(), **changes}))


def pages(run: Any) -> Iterator[Page]:
    yield report(run)
    for record in run.records.values():
        yield Page(render_step_page(record, run.exhibits))


@pytest.mark.parametrize("name", ["succeeded", "failed", "terminated", "reused"])
def test_every_page_is_sound(name: str, request: pytest.FixtureRequest) -> None:
    for page in pages(request.getfixturevalue(name)):
        assert page.text.startswith("<!doctype html>")
        assert page.all("html") == [{"lang": "en"}]
        assert len(page.all("h1")) == 1
        assert len(page.ids) == len(set(page.ids))
        assert all(image["alt"] for image in page.all("img"))
        assert all(head.get("scope") for head in page.all("th"))
        assert len(page.all("caption")) == len(page.all("table"))
        for link in page.all("a"):
            assert (link["href"] or "")[1:] in page.ids
        for tag, attrs in page.tags:
            if "aria-labelledby" in attrs:
                assert attrs["aria-labelledby"] in page.ids
            if tag == "svg":
                assert "aria-hidden" in attrs or attrs.get("aria-label")


@pytest.mark.parametrize("name", ["succeeded", "failed", "terminated", "reused"])
def test_headings_do_not_skip_a_level(name: str, request: pytest.FixtureRequest) -> None:
    for page in pages(request.getfixturevalue(name)):
        levels = [int(tag[1]) for tag, _ in page.tags if tag in {"h1", "h2", "h3", "h4"}]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_nothing_is_fetched_from_anywhere(succeeded: Any) -> None:
    for page in pages(succeeded):
        for _, attrs in page.tags:
            for name in ("src", "href", "xlink:href", "action", "poster", "srcset", "data"):
                assert name not in attrs or (attrs[name] or "").startswith(("#", "data:"))
        assert "url(" not in page.text
        assert "@import" not in page.text
        policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
        assert (policy or "").startswith("default-src 'none'")


def test_the_report_has_every_section(succeeded: Any) -> None:
    page = report(succeeded)
    assert set(SHOWN) | {"steps", "notes", "parameters", "provenance"} <= set(page.ids)
    for words in (
        "strip-defects",
        "Succeeded",
        "Promoted: version 7",
        "0.764",
        "31 min 1 s",
        "Live: version 7",
        "per_class.crack.ap50 0.538 reaches the minimum 0.500",
        "duplicate picture",
        "same bytes as images/coil-0702-0111.jpg",
        "images/coil-0705-0017.jpg: 4 of 5 found",
        "predicted as",
        "best: epoch 47",
        "The trainer was killed in epoch 23",
        "source_uri",
        "8.4.2",
        succeeded.records["train_detector"].key,
    ):
        assert words in page.said, words
    assert len(page.all("img")) == 8 + 3
    # Each photograph once, drawn twice.
    assert len(page.all("image")) == len(page.all("use")) == 5 + 4
    assert "What happened" not in page.said


def test_a_losing_model_is_said_to_be_not_promoted(succeeded: Any) -> None:
    record = succeeded.records["decide_promotion"]
    lost = record.model_copy(
        update={
            "facts": {
                "promoted": False,
                "rules": [{"metric": "ap50", "minimum": 0.8, "value": None, "passed": False}],
                "reasons": [],
            }
        }
    )
    page = report(succeeded, records={**succeeded.records, "decide_promotion": lost})
    assert "Not promoted" in page.said
    assert "not met" in page.said


def test_a_failure_tells_its_words_and_the_way_on(failed: Any) -> None:
    page = report(failed)
    assert "Failed at step 8 of 12: Train" in page.said
    assert page.said.count("killed for memory, oom_kill 1 in memory.events") == 1
    assert "Set batch_size to 32 or less, or ask for more than 16Gi." in page.said
    assert "Training is kept after epoch 23 of 60." in page.said
    assert failed.go_on.command in page.said
    kept = page.said.split("What is kept")[1].split("Worth knowing")[0]
    assert "Start weights" in kept
    assert "Source" not in kept
    assert page.said.count("not run") == 4
    assert "data-copy" in page.text


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.RUNNING])
def test_nothing_goes_on_where_nothing_went_wrong(succeeded: Any, state: RunState) -> None:
    go_on = Continuation(advice="Please", command="do-go-on")
    assert "do-go-on" not in report(succeeded, state=state, go_on=go_on).said


def test_the_runs_own_error_is_told_where_no_step_has_one() -> None:
    error = ErrorRecord(kind="StoreUnavailable", message="s3://x: does not answer; start it")
    page = Page(
        render_run_report(
            run_id="r", model_name="", state=RunState.FAILED, error=error, records={}, exhibits={}
        )
    )
    assert "Training run" in page.said
    assert "StoreUnavailable : s3://x: does not answer; start it" in page.said
    assert page.said.count("not run") == len(SHOWN) - 1  # no deployment was asked for


def test_the_words_of_every_failed_step_are_there(failed: Any) -> None:
    """Two steps that ran beside each other may both have failed."""
    error = ErrorRecord(kind="DatasetError", message="shard 3: is gone; run again")
    other = failed.records["build_test_set"].model_copy(
        update={"state": StepState.FAILED, "error": error}
    )
    page = report(failed, error=None, records={**failed.records, "build_test_set": other})
    assert page.said.count("shard 3: is gone") == 1
    assert page.said.count("killed for memory") == 1


def test_a_killed_run_says_where(failed: Any) -> None:
    page = report(failed, state=RunState.KILLED, error=None)
    assert "Killed at step 8 of 12: Train" in page.said
    assert "Go on from here" in page.said


def test_what_became_of_earlier_attempts_is_kept(succeeded: Any) -> None:
    record = succeeded.records["train_detector"]
    attempts = (
        Attempt(attempt=1, state=StepState.RUNNING, started_at=record.started_at),
        Attempt(
            attempt=2,
            state=StepState.FAILED,
            started_at=record.started_at,
            progress=EpochProgress(epoch=12, epochs=60),
            error=ErrorRecord(kind="TrainerDied", message="trainer: ended with exit code 3"),
        ),
    )
    retried = record.model_copy(update={"attempt": 3, "earlier": attempts})
    page = report(succeeded, records={**succeeded.records, "train_detector": retried})
    assert "Training, attempt 1 Cut off without a word, begun 3 May 2025" in page.said
    assert (
        "attempt 2 Failed, begun 3 May 2025, 02:03 UTC, after epoch 12 of 60: TrainerDied : tr"
        in (page.said)
    )
    assert "attempts" in page.ids
    assert "attempts" not in report(succeeded).ids


def test_many_classes_are_told_by_their_mistakes_first(many: Any) -> None:
    page = report(many)
    mistakes = page.said.split("Most frequent mistakes")[-1].split("Confusion matrix")[0]
    assert "in-all missed 400 nothing there 划痕 300 " in mistakes
    assert "Further classes" in page.said
    assert len(page.text.encode()) < 5_000_000


def test_thousands_of_classes_leave_a_page_that_opens(many: Any) -> None:
    record = many.records["evaluate_detector"]
    names = [f"a class with a long name, number {n}" for n in range(1200)]
    row, curve = record.facts["per_class"]["划痕"], record.facts["pr_curves"]["划痕"]
    size = len(names) + 1
    facts = {
        **record.facts,
        "per_class": dict.fromkeys(names, row) | {names[900]: {**row, "ap50": 0.0}},
        "pr_curves": dict.fromkeys(names, curve),
        "confusion": {"labels": [*names, "background"], "matrix": [[7] * size] * size},
    }
    records = {**many.records, "evaluate_detector": record.model_copy(update={"facts": facts})}
    for step in ("clean_dataset", "augment_dataset", "build_test_set"):
        told = many.records[step].facts
        counts = dict.fromkeys(names, 7)
        told = {**told, "class_names": names, "objects_per_class": counts}
        records[step] = records[step].model_copy(update={"facts": told})
    page = report(many, records=records)
    assert len(page.text.encode()) < 5_000_000
    assert "The first 200 of 1,200 are shown, the weakest." in page.said
    assert names[900] in page.said
    assert "1201 x 1201" not in page.said


def test_a_picture_with_many_faults_is_shown_once(succeeded: Any) -> None:
    record = succeeded.records["clean_dataset"]
    fault = {"file": "a.txt", "reason": "no area", "detail": "", "exhibit": "box-1"}
    faults = [{**fault, "line": n} for n in range(1, 301)]
    facts = {**record.facts, "box_faults": faults, "dropped_files": []}
    page = Page(render_step_page(record.model_copy(update={"facts": facts}), succeeded.exhibits))
    assert len(page.all("img")) == 1
    assert "a.txt , line 1, and 299 faults more" in page.said


def test_a_terminated_run_says_where(terminated: Any) -> None:
    page = report(terminated)
    assert "Terminated at step 3 of 12" in page.said
    assert "Start the run again." in page.said


def test_a_step_that_never_reported_its_end_is_cut_off(failed: Any) -> None:
    cut = failed.records["train_detector"].model_copy(
        update={"state": StepState.RUNNING, "finished_at": None, "error": None}
    )
    page = report(failed, error=None, records={**failed.records, "train_detector": cut})
    assert "Failed at step 8 of 12: Train" in page.said
    assert "cut off" in page.said
    assert "Stopped without a last word" in page.said


def test_a_running_run_shows_how_far_it_is(failed: Any) -> None:
    going = failed.records["train_detector"].model_copy(
        update={
            "state": StepState.RUNNING,
            "finished_at": None,
            "error": None,
            "progress": EpochProgress(epoch=7, epochs=60),
        }
    )
    page = report(
        failed,
        state=RunState.RUNNING,
        error=None,
        records={**failed.records, "train_detector": going},
    )
    assert "Running, epoch 7 of 60" in page.said
    assert "What happened" not in page.said


def test_reused_steps_name_the_run_that_made_them(reused: Any) -> None:
    page = report(reused)
    assert page.text.count('<li class="is-reused">') == 10
    assert "from run 2f6d0a9b , took 21 min 52 s" in page.said
    assert "Nothing changed since run 2f6d0a9b" in page.said


def hostile(value: Any) -> Any:
    """The same facts, each text and each name in them followed by markup."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, dict):
        named = ("objects_per_class", "images_per_class", "per_class", "pr_curves", "counts")
        return {
            key: {k + HOSTILE: hostile(v) for k, v in item.items()}
            if key in named and isinstance(item, dict)
            else hostile(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value


def test_names_and_words_cannot_become_markup(succeeded: Any) -> None:
    records = {
        step: record.model_copy(
            update={
                "state": StepState.FAILED if step == "train_detector" else StepState.DONE,
                "key": HOSTILE,
                "digest": HOSTILE,
                "inputs": {HOSTILE: HOSTILE},
                "notes": (HOSTILE,),
                "facts": hostile(record.facts),
                "parameters": {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}},
                "versions": {HOSTILE: HOSTILE},
                "error": ErrorRecord(kind=HOSTILE, message=HOSTILE, remedy=HOSTILE),
            }
        )
        for step, record in succeeded.records.items()
    }
    run = dataclasses.replace(
        succeeded,
        records=records,
        model_name=HOSTILE,
        run_id=HOSTILE,
        state=RunState.FAILED,
        go_on=Continuation(advice=HOSTILE, command=HOSTILE),
    )
    for page in pages(run):
        assert page.text.count("<script") == 1
        assert "alert(1)" in page.said
        assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)


@pytest.mark.parametrize("step", SHOWN)
@pytest.mark.parametrize("instead", ["missing", "none"])
def test_a_fact_less_is_a_place_less_not_an_error(succeeded: Any, step: str, instead: str) -> None:
    record = succeeded.records[step]
    for key in record.facts:
        facts = {k: v for k, v in record.facts.items() if k != key}
        if instead == "none":
            facts[key] = None
        changed = record.model_copy(update={"facts": facts})
        Page(render_step_page(changed, succeeded.exhibits))
    bare = record.model_copy(update={"facts": {"something": "else"}})
    Page(render_step_page(bare, {}))


@pytest.mark.parametrize("step", SHOWN)
def test_a_record_less_is_a_step_not_run(succeeded: Any, step: str) -> None:
    records = {name: record for name, record in succeeded.records.items() if name != step}
    page = report(succeeded, records=records)
    assert step not in page.ids
    assert page.said.count("not run") == 1


@pytest.mark.parametrize("step", [step for step in SHOWN if step != "preflight"])
def test_empty_records_leave_a_page(succeeded: Any, step: str) -> None:
    records = {
        name: StepRecord(
            step=name,
            run_id=record.run_id,
            state=record.state,
            started_at=record.started_at,
            facts=record.facts if name == step else {},
        )
        for name, record in succeeded.records.items()
    }
    report(succeeded, records=records, exhibits={})


def test_a_step_the_report_does_not_know_is_shown_as_it_is(succeeded: Any) -> None:
    record = succeeded.records["register_model"]
    calibrated = record.model_copy(
        update={
            "step": "calibrate_cameras",
            "facts": {"endpoint": "http://strip-defects", "ready": True},
        }
    )
    page = report(succeeded, records={**succeeded.records, "calibrate_cameras": calibrated})
    assert "http://strip-defects" in page.said
    assert "calibrate_cameras" in page.ids
    assert "Calibrate cameras" in Page(render_step_page(calibrated, {})).said


def test_a_deployment_alone_is_a_report_of_its_own(succeeded: Any) -> None:
    live = {"deploy_model": succeeded.records["deploy_model"]}
    page = report(succeeded, records=live)
    assert "Deployment" in page.said
    for word in ("Training run", "not run", "Score the exported model"):
        assert word not in page.said
    for words in ("Live: version 7", "6 before, now 7", "12 answered as evaluated", "in vision"):
        assert words in page.said
    assert live["deploy_model"].facts["url"] in page.said


def test_recorded_requests_are_shown_beside_what_was_live(succeeded: Any) -> None:
    record = succeeded.records["deploy_model"]
    recorded = record.facts["recorded"]
    pages = (report(succeeded), Page(render_step_page(record, succeeded.exhibits)))
    for page in pages:
        for words in (
            "200 of 48,210 pictures, 1 left out",
            "188 of 197",
            "s3://cameras/line-2",
            "2025-05-02/0008.jpg",
            "2025-05-01/0007.jpg",
            "cut short",
            "scratch 0.81 at (64, 48, 192, 144) is not found",
        ):
            assert words in page.said
        assert 'aria-label="live before: 1 scratch (1 only there), 1 dent"' in page.text
        assert 'aria-label="this version: 1 dent"' in page.text
    changes = {"compared": 0, "alike": 0, "otherwise": [], "unanswered": [], "examples": []}
    for more, words in (
        ({}, "197, with no live version to compare with"),
        ({"failed": f"night {HOSTILE}.jpg"}, "Not answered night"),
    ):
        told = {**record.facts, "recorded": {**recorded, **changes, **more}}
        page = Page(render_step_page(record.model_copy(update={"facts": told}), {}))
        assert words in page.said
        assert "<script>alert" not in page.text
    none = {key: value for key, value in record.facts.items() if key != "recorded"}
    page = Page(render_step_page(record.model_copy(update={"facts": none}), {}))
    assert "Recorded requests" not in page.said


def test_what_ran_the_model_is_told(succeeded: Any) -> None:
    page = report(succeeded)
    assert "OpenVINO 2026.4.1 ran it on CPU in bf16; a predictor takes the same" in page.said
    assert "Evaluated in bf16" in page.said


def test_wrong_answers_are_shown_beside_the_right_ones(succeeded: Any) -> None:
    record = succeeded.records["deploy_model"]
    box = {"name": "scratch", "xywh": [0.1, 0.1, 0.2, 0.2], "right": False, "score": 0.9}
    wrong = {
        "exhibit": "example-0",
        "caption": f"coil {HOSTILE}.jpg",
        "differences": ["scratch 0.90 at (64, 48, 192, 144) is not found"],
        "truth": [box],
        "found": [],
    }
    left = {"url", "golden_checked", "recorded"}
    told = {k: v for k, v in record.facts.items() if k not in left}
    failed = record.model_copy(
        update={
            "state": StepState.FAILED,
            "facts": {**told, "wrong_answers": [wrong]},
            "error": ErrorRecord(kind="DeploymentError", message="detects other things"),
        }
    )
    pages = (
        report(succeeded, state=RunState.FAILED, records={"deploy_model": failed}),
        Page(render_step_page(failed, succeeded.exhibits)),
    )
    for page in pages:
        assert 'aria-label="evaluation: 1 scratch (1 not answered)"' in page.text
        assert 'aria-label="endpoint: nothing"' in page.text
        assert "is not found" in page.said
        assert "7, not live" in page.said
        assert "<script>alert" not in page.text
    assert "Failed at step 1 of 1: Put the version live and verify it" in pages[0].said


def test_losses_without_validation_leave_the_line_out(succeeded: Any) -> None:
    record = succeeded.records["train_detector"]
    curves = [
        {key: None if key.startswith("val_") else value for key, value in row.items()}
        for row in record.facts["curves"]
    ]
    page = Page(
        render_step_page(
            record.model_copy(update={"facts": {**record.facts, "curves": curves}}), {}
        )
    )
    charts = [svg["aria-label"] or "" for svg in page.all("svg") if svg.get("aria-label")]
    assert len(charts) == 4
    assert not any("val from" in chart for chart in charts)
    assert "val box" not in page.said


def test_lists_of_faults_are_cut_in_words_too(succeeded: Any) -> None:
    record = succeeded.records["clean_dataset"]
    faults = [
        {"file": f"f{n}.txt", "line": 1, "reason": "no area", "detail": "", "exhibit": ""}
        for n in range(10_000)
    ]
    page = render_step_page(
        record.model_copy(update={"facts": {**record.facts, "box_faults": faults}}), {}
    )
    assert "10,005, the first 200 shown" in page
    assert len(page) < 200_000


def test_forty_pictures_and_eighty_classes_stay_below_five_megabytes(succeeded: Any) -> None:
    noise = random.Random(0)
    some = next(iter(succeeded.exhibits.values()))
    # Bytes after a JPEG's end marker are no part of the picture, and weigh all the same.
    heavy = {f"e{n}": some + noise.randbytes(110_000) for n in range(40)}
    classes = [f"class number {n}" for n in range(80)]
    facts = dict(succeeded.records["evaluate_detector"].facts)
    row, curve = facts["per_class"]["dent"], facts["pr_curves"]["dent"]
    facts |= {
        "per_class": dict.fromkeys(classes, row),
        "pr_curves": dict.fromkeys(classes, curve),
        "confusion": {
            "labels": [*classes, "background"],
            "matrix": [[noise.randint(0, 3) for _ in range(81)] for _ in range(81)],
        },
        "examples": [{"exhibit": name, "caption": name} for name in heavy],
    }
    record = succeeded.records["evaluate_detector"].model_copy(update={"facts": facts})
    records = {**succeeded.records, "evaluate_detector": record}
    page = report(succeeded, records=records, exhibits={**succeeded.exhibits, **heavy})
    assert len(page.text.encode()) < 5_000_000
    assert "no picture" in page.said


def test_a_retried_run_is_not_a_page_of_waiting(failed: Any) -> None:
    late = failed.records["train_detector"].model_copy(
        update={
            "started_at": failed.records["train_detector"].started_at + timedelta(hours=9),
            "finished_at": failed.records["train_detector"].started_at + timedelta(hours=10),
        }
    )
    page = report(failed, records={**failed.records, "train_detector": late})
    assert "paused" in page.said
