from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yololine.errors import IntegrityError, RegistryError, StoreUnavailable, UsageError
from yololine.registry.versions import (
    Version,
    champion,
    check_model_name,
    crown,
    fetch_version,
    find_version,
    open_folder,
    read_version,
    register,
    resolve_version,
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


# Which version a person means.


def test_a_name_means_the_champion_and_a_version_itself(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    first, second = register_one(), register_one("f" * 64)
    crown(store, first)
    assert resolve_version(store, NAME) == first
    assert resolve_version(store, f" {NAME}@{second.version} ") == second
    assert resolve_version(store, second.reference) == second


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("casting-defect", r"did you mean casting-defects\? There are: casting-defects"),
        ("others", "model 'others': has no version in .*There are: casting-defects"),
        ("Casting Defects", "use 'casting-defects'"),
        (NAME, "has no champion: none of its versions was promoted; name a version, for instance"),
        (f"{NAME}@0123456789ff", f"did you mean {NAME}@0123456789ab"),
        (f"{NAME}@", "there are: 0123456789ab"),
        (f"{NAME}@../../x", "is not in .*; there are: 0123456789ab"),
        (f"{NAME}@latest", "there are: 0123456789ab"),
        ("", "choose a name such as"),
    ],
)
def test_what_is_no_version_is_refused_with_those_that_are(
    text: str, words: str, store: LocalStore, register_one: Callable[..., Version]
) -> None:
    register_one(promoted=False)
    with pytest.raises(UsageError, match=words):
        resolve_version(store, text)


def test_in_an_empty_store_there_is_nothing_to_choose_from(store: LocalStore) -> None:
    with pytest.raises(UsageError, match=r"has no version in .*; run the training first"):
        resolve_version(store, NAME)


def test_a_damaged_version_is_not_taken_for_a_missing_one(
    store: LocalStore, register_one: Callable[..., Version]
) -> None:
    made = register_one()
    (store.root / made.folder / "manifest.json").write_text("{}")
    with pytest.raises(RegistryError, match=r"manifest\.json: is damaged"):
        resolve_version(store, made.reference)


# In a folder.


def test_a_version_that_was_fetched_opens(
    store: LocalStore, register_one: Callable[..., Version], tmp_path: Path
) -> None:
    made = register_one()
    folder = tmp_path / "served"
    fetch_version(store, made, folder)
    assert open_folder(folder) == made
    assert {path.name for path in folder.iterdir()} == {*made.files, "manifest.json"}
    # As KServe copies it: the folder of the store itself.
    assert open_folder(store.root / made.folder) == made


def test_what_serves_does_without_the_weights(
    store: LocalStore, register_one: Callable[..., Version], tmp_path: Path
) -> None:
    made = register_one()
    fetch_version(
        store, made, tmp_path / "served", files=[n for n in made.files if n != "weights.pt"]
    )
    assert open_folder(tmp_path / "served") == made


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("model.onnx", "changed", r"model\.onnx: has sha256 .*, registered with"),
        ("model.onnx", "cut short", r"model\.onnx: has \d+ bytes, registered with"),
        ("model.onnx", "gone", r"model\.onnx: cannot be read .*though the manifest names it"),
        ("metrics.json", "gone", r"metrics\.json: cannot be read"),
        ("weights.pt", "changed", r"weights\.pt: has sha256"),
        ("manifest.json", "cut short", r"manifest\.json: is no manifest of a version"),
        ("manifest.json", "gone", r"manifest\.json: cannot be read .*holds no version"),
    ],
)
def test_a_folder_that_is_not_what_was_registered_is_refused(
    name: str,
    damage: str,
    words: str,
    store: LocalStore,
    register_one: Callable[..., Version],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "served"
    fetch_version(store, register_one(), folder)
    file = folder / name
    match damage:
        case "cut short":
            file.write_bytes(file.read_bytes()[:-1])
        case "changed":
            file.write_bytes(file.read_bytes().replace(b"0", b"1"))
        case "gone":
            file.unlink()
    with pytest.raises(RegistryError, match=words):
        open_folder(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b"])
def test_a_manifest_that_leaves_its_folder_is_refused(
    name: str, store: LocalStore, register_one: Callable[..., Version], tmp_path: Path
) -> None:
    made = register_one()
    evil = made.model_copy(update={"files": made.files | {name: made.files["model.onnx"]}})
    with pytest.raises(RegistryError, match="would lie outside its folder"):
        fetch_version(store, evil, tmp_path / "served")
    assert not (tmp_path / "served").exists()
    fetch_version(store, made, tmp_path / "served")
    (tmp_path / "served" / "manifest.json").write_text(evil.model_dump_json())
    with pytest.raises(RegistryError, match="would lie outside its folder"):
        open_folder(tmp_path / "served")


def test_a_version_without_a_model_is_none(
    store: LocalStore, register_one: Callable[..., Version], tmp_path: Path
) -> None:
    made = register_one()
    fetch_version(store, made, tmp_path / "served")
    empty = made.model_copy(update={"files": {}})
    (tmp_path / "served" / "manifest.json").write_text(empty.model_dump_json())
    with pytest.raises(RegistryError, match=r"holds no model\.onnx"):
        open_folder(tmp_path / "served")


def test_a_fetch_that_fails_leaves_no_version(
    store: LocalStore, register_one: Callable[..., Version], tmp_path: Path
) -> None:
    """Even where one was: half of it is of another."""
    made = register_one()
    folder = tmp_path / "served"
    fetch_version(store, made, folder)
    (store.root / made.files["report.html"].path).write_text("another report")
    with pytest.raises(IntegrityError):
        fetch_version(store, made, folder)
    assert not (folder / "manifest.json").exists()
    with pytest.raises(RegistryError, match=r"holds no golden\.parquet; there are: model\.onnx"):
        fetch_version(store, made, folder, files=["golden.parquet"])
