from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yololine.errors import RegistryError, StoreUnavailable, UsageError
from yololine.registry.versions import (
    Version,
    champion,
    check_model_name,
    crown,
    find_version,
    read_version,
    register,
    version_name,
)
from yololine.storage.local import LocalStore

KEY = "0123456789abcdef" * 4
NAME = "casting-defects"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def register_one(store: LocalStore, tmp_path: Path) -> Callable[..., Version]:
    """Registers a version whose files hold `words`."""

    def do(key: str = KEY, *, words: str = "", promoted: bool = True) -> Version:
        folder = tmp_path / f"made-{threading.get_ident()}-{words}"
        folder.mkdir(exist_ok=True)
        files = {}
        for name in ("model.onnx", "weights.pt", "metrics.json", "report.html"):
            files[name] = folder / name
            files[name].write_text(f"{name} {key} {words}")
        return register(
            store,
            name=NAME,
            key=key,
            promoted=promoted,
            files=files,
            class_names=("crack", "pin hole"),
            image_size=640,
            metrics={"ap50": 0.7, "per_class": {"crack": {"ap50": None}}},
        )

    return do


@pytest.mark.parametrize("name", ["a", "casting-defects", "0", "a" * 63, "yolo-11"])
def test_names_that_a_model_may_have(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Casting Defects", "use 'casting-defects'"),
        ("casting_defects", "use 'casting-defects'"),
        ("-a-", "use 'a'"),
        ("models/../a", "use 'models-a'"),
        ("a" * 64, f"use '{'a' * 63}'"),
        ("a" * 62 + "--b", f"use '{'a' * 62}'"),
        ("a\n", "use 'a'"),
        ("", "choose a name such as 'casting-defects'"),
        ("***", "choose a name such as 'casting-defects'"),
        ("铸件", "choose a name such as 'casting-defects'"),
    ],
)
def test_other_names_are_refused_with_one_that_fits(name: str, remedy: str) -> None:
    with pytest.raises(UsageError, match="must be 1 to 63 lower-case letters") as raised:
        check_model_name(name)
    assert raised.value.remedy == remedy
    if remedy.startswith("use "):
        assert check_model_name(remedy[5:-1]) == remedy[5:-1]


def test_a_version_is_found_by_the_key_of_its_making(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    assert find_version(store, NAME, KEY) is None
    made = register_one()
    assert made.version == version_name(KEY) == "0123456789ab"
    assert made.folder == f"models/{NAME}/0123456789ab"
    assert find_version(store, NAME, KEY) == read_version(store, NAME, made.version) == made
    assert set(store.paths()) == {
        f"{made.folder}/{name}" for name in (*made.files, "manifest.json")
    }
    for name, ref in made.files.items():
        assert store.read_bytes(ref.path) == f"{name} {KEY} ".encode()
    assert find_version(store, NAME, "f" * 64) is None
    assert find_version(store, "another", KEY) is None


def test_registering_again_changes_nothing(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    made = register_one()
    assert register_one() == made
    assert find_version(store, NAME, KEY) == made


@pytest.mark.parametrize("name", ["model.onnx", "weights.pt", "report.html", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut short", "changed", "gone"])
def test_a_damaged_version_is_none_and_made_again(
    name: str, damage: str, store: LocalStore, register_one: Callable[..., Version]
) -> None:
    made = register_one()
    file = store.root / made.folder / name
    content = file.read_bytes()
    match damage:
        case "cut short":
            file.write_bytes(content[:-1])
        case "changed":
            file.write_bytes(content.replace(b"0", b"1"))
        case "gone":
            file.unlink()
    assert find_version(store, NAME, KEY) is None
    if name == "manifest.json" and damage == "changed":
        # It names another key now, and nothing is known of that one.
        with pytest.raises(RegistryError, match="is taken by another key"):
            register_one()
        return
    again = register_one()
    # When it was registered only the manifest knows.
    assert again.model_copy(update={"registered_at": made.registered_at}) == made
    assert (again.registered_at == made.registered_at) == (name != "manifest.json")
    assert find_version(store, NAME, KEY) == again


def test_two_keys_of_one_name_are_not_mixed_up(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    register_one()
    other = KEY[:12] + "f" * 52
    assert find_version(store, NAME, other) is None
    with pytest.raises(RegistryError, match=r"casting-defects@0123456789ab: is taken by another"):
        register_one(other)
    assert find_version(store, NAME, KEY)


def test_without_its_manifest_there_is_no_version(
    store: LocalStore, register_one: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the files and the manifest."""

    def gone(*_: Any) -> None:
        raise StoreUnavailable("store", rule="is gone", remedy="wait")

    with monkeypatch.context() as broken:
        broken.setattr(LocalStore, "write_bytes", gone)
        with pytest.raises(StoreUnavailable):
            register_one()
    assert len(list(store.paths())) == 4
    assert read_version(store, NAME, version_name(KEY)) is None
    assert find_version(store, NAME, KEY) is None
    assert register_one() == find_version(store, NAME, KEY)


def test_of_several_writers_at_once_one_version_stands(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    """Each with a report of its own: files of one are not left under the manifest of another."""
    start = threading.Barrier(3)
    told: list[Version] = []

    def write(words: str) -> None:
        start.wait()
        told.append(register_one(words=words))

    writers = [threading.Thread(target=write, args=(f"run {n}",)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(told) == 3
    standing = find_version(store, NAME, KEY)
    assert standing in told
    words = {store.read_bytes(ref.path).split(b"run ")[1] for ref in standing.files.values()}
    assert len(words) == 1


def test_a_version_that_never_verifies_is_said(
    register_one: Callable[..., Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalStore, "verified", lambda *_: False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(RegistryError, match="did not verify after 5 attempts"):
        register_one()


def test_the_champion_is_the_newest_version_crowned(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    assert champion(store, NAME) is None
    first, second = register_one(), register_one("f" * 64)
    crown(store, first)
    file = store.root / "models" / NAME / "champion.json"
    named = json.loads(file.read_text())
    assert (named["name"], named["version"], named["key"]) == (NAME, first.version, KEY)
    crown(store, second)
    now = champion(store, NAME)
    assert now
    assert (now.version, now.key) == (second.version, "f" * 64)
    written = file.stat().st_mtime_ns
    crown(store, second)
    # A repeated run of the older version takes the newer one nothing.
    crown(store, first)
    assert file.stat().st_mtime_ns == written
    assert champion(store, "another") is None


def test_a_damaged_champion_is_said(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    crown(store, register_one())
    file = store.root / "models" / NAME / "champion.json"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(RegistryError, match=r"champion\.json: names no champion: it is damaged"):
        champion(store, NAME)
