from __future__ import annotations

import os
from pathlib import Path

import pytest

from yololine import resources


@pytest.fixture(autouse=True)
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup tree of the test's own, in a machine of 16 cores."""
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    (tmp_path / "cpu").mkdir()
    (tmp_path / "memory").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "3200000 100000\n"}, 16),
        ({"cpu.max": ""}, 16),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_cores_are_those_of_the_container(files: dict[str, str], cores: int, cgroup: Path) -> None:
    for name, content in files.items():
        (cgroup / name).write_text(content)
    assert resources.cores() == cores


@pytest.mark.parametrize(
    ("cores", "devices", "processes"), [(16, 1, 8), (16, 4, 4), (4, 1, 4), (2, 8, 1), (1, 0, 1)]
)
def test_loaders_share_the_cores(cores: int, devices: int, processes: int, cgroup: Path) -> None:
    (cgroup / "cpu.max").write_text(f"{cores}00000 100000")
    assert resources.loader_processes(devices) == processes


@pytest.mark.parametrize(
    ("name", "content", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("memory.events", "low 0\n", 0),
        ("unrelated", "oom_kill 5", 0),
    ],
)
def test_kills_for_memory_are_counted(name: str, content: str, kills: int, cgroup: Path) -> None:
    (cgroup / name).write_text(content)
    assert resources.oom_kills() == kills
