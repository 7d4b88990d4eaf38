"""What is in a folder and in no listing."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from yololine.dataset.left_out import left_out
from yololine.storage import open_store


def test_all_is_listed(tmp_path: Path, made: Any) -> None:
    source = made.source(tmp_path, {"a/b.jpg": "", "c.txt": ""})
    (source / "d.txt").symlink_to("c.txt")
    (source / "empty").mkdir()
    assert left_out(open_store(str(source))) == ""


def test_what_is_left_out_is_told_by_kind(tmp_path: Path, made: Any) -> None:
    source = made.source(tmp_path / "source", {"a/b.jpg": ""})
    outside = made.source(tmp_path / "outside", {"x.jpg": ""})
    (source / "a" / "x.jpg").symlink_to(outside / "x.jpg")
    (source / "away").symlink_to(outside)
    (source / "here").symlink_to("a")
    (source / "dead").symlink_to("nowhere")
    (source / "round").symlink_to("and")
    (source / "and").symlink_to("round")
    (source / ".hidden").symlink_to(outside)
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(source / "bound"))  # such a path is at most 107 bytes long
        told = left_out(open_store(str(source)))
    assert told == (
        "3 links to nothing (and, dead, round), 2 links out of the source (away, a/x.jpg), "
        "1 socket (bound), 1 link to a folder (here), 1 pipe (pipe)"
    )


def test_a_few_are_named(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).symlink_to("/etc")
    told = left_out(open_store(str(tmp_path)))
    assert told == "5 links out of the source (a, b, c and 2 more)"


def test_a_link_to_the_source_is_followed(tmp_path: Path, made: Any) -> None:
    made.source(tmp_path / "real", {"a.jpg": ""})
    (tmp_path / "link").symlink_to("real")
    assert left_out(open_store(str(tmp_path / "link"))) == ""
