"""What this process may use: devices, cores, and whether the kernel killed for memory."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
LOADERS_AT_MOST = 8


def cores() -> int:
    """Whole cores of this process: affinity, and the container's limit where it has one."""
    available = len(os.sched_getaffinity(0))
    limit = _text(CGROUP / "cpu.max").split()  # cgroup v2: "<quota> <period>", microseconds
    if len(limit) == 2 and limit[0].isdigit():
        available = min(available, max(1, int(limit[0]) // int(limit[1])))
    quota = _text(CGROUP / "cpu/cpu.cfs_quota_us")  # cgroup v1
    period = _text(CGROUP / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():
        available = min(available, max(1, int(quota) // int(period)))
    return available


def loader_processes(devices: int) -> int:
    """Image-loading processes per device: ultralytics' own default asks the host's core count."""
    return max(1, min(LOADERS_AT_MOST, cores() // max(1, devices)))


def oom_kills() -> int:
    """Kills for memory that this container's cgroup has counted."""
    for name in ("memory.events", "memory/memory.oom_control"):
        for line in _text(CGROUP / name).splitlines():
            field, _, count = line.partition(" ")
            if field == "oom_kill":
                return int(count)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
