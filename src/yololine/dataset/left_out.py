"""What lies in a source's folder and is no file that is read: links that lead out, pipes, devices.

A bucket has none of it.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from pathlib import Path

from yololine.storage.base import Store, is_hidden
from yololine.storage.local import LocalStore

_NAMED = 3
"""Paths that are named for each kind."""
_KINDS = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def left_out(store: Store) -> str:
    """What a listing of the source passes over, in words; empty where there is nothing.

    For instance: `2 links to a folder (a, b), 1 pipe (c)`. Hidden files are not told.
    """
    if not isinstance(store, LocalStore):
        return ""
    found: dict[str, list[str]] = defaultdict(list)
    root = os.path.realpath(store.root)
    folders = [root]
    while folders:
        for entry in _entries(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif not entry.is_file(follow_symlinks=False) and (kind := _kind(entry, root)):
                found[kind].append(os.path.relpath(entry.path, root))
    return ", ".join(f"{len(paths)} {_plural(kind, paths)}" for kind, paths in found.items())


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is not hidden, by name; nothing where the folder has gone or is not to be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not is_hidden(e.name)), key=lambda e: e.name)
    except OSError:
        return []


def _kind(entry: os.DirEntry[str], root: str) -> str:
    """What is no file and no folder; empty for a link that is listed."""
    if entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(root):
            return "link out of the source"
        if target.is_dir():
            return "link to a folder"
        # A loop of links resolves to one of them.
        return "" if target.is_file() else "link to nothing"
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""  # removed since the folder was read
    return next((kind for is_it, kind in _KINDS if is_it(mode)), "")


def _plural(kind: str, paths: list[str]) -> str:
    if len(paths) > 1:
        noun, _, rest = kind.partition(" ")
        kind = f"{noun}s {rest}".rstrip()
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{kind} ({', '.join(paths[:_NAMED])}{more})"
