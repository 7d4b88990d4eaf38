"""The classes of a source, as its data.yaml or classes.txt names them."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from yololine.documents import MAX_BYTES, read_document
from yololine.errors import SourceError
from yololine.storage.base import Store

DATA_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASSES_TXT = "classes.txt"
MAX_CLASS_NAME = 200

_SPLIT_KEYS = ("train", "val", "test")
_NO_TEXT = ("", "~", "null", "Null", "NULL")
"""How YAML writes nothing."""
_MEND_NAMES = "write names as a list of class names, such as names: [scratch, dent]"


@dataclass(frozen=True, kw_only=True)
class NamedClasses:
    """What the files of one source that name classes say; all of them say the same."""

    names: tuple[str, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What else they say that is not so, or is not followed."""


def plain_name(text: str) -> str:
    """A class name in the one form by which names are compared.

    Spaces at its ends and line breaks in it come from how a file is laid out, and letters with
    accents are written in two ways.
    """
    return unicodedata.normalize("NFC", " ".join(text.split()))


def read_class_names(store: Store, paths: Sequence[str], *, data_yaml: bool) -> NamedClasses | None:
    """The class names of a source, None where no file names them.

    Of several files the ones highest up count. A data.yaml goes before a classes.txt.

    Args:
        store: Holds the source.
        paths: All its files.
        data_yaml: Whether to look at a data.yaml; else at classes.txt alone.

    Raises:
        SourceError: A file that should name them cannot be read, or says what cannot be; or
            several name different classes.
    """
    found = _highest(paths, DATA_YAML_NAMES) if data_yaml else ()
    if found:
        read = [_data_yaml(store, path, paths) for path in found]
    elif found := _highest(paths, (CLASSES_TXT,)):
        read = [_classes_txt(store, path) for path in found]
    else:
        return None
    if len({named.names for named in read}) > 1:
        raise SourceError(
            f"{store.uri}: {', '.join(found)}",
            rule="name different classes",
            remedy="keep one of them, at the top of the source",
        )
    return NamedClasses(
        names=read[0].names,
        files=found,
        notes=tuple(dict.fromkeys(note for named in read for note in named.notes)),
    )


def _highest(paths: Iterable[str], names: tuple[str, ...]) -> tuple[str, ...]:
    found = [path for path in paths if posixpath.basename(path).lower() in names]
    depth = min((path.count("/") for path in found), default=0)
    return tuple(path for path in found if path.count("/") == depth)


def _data_yaml(store: Store, path: str, paths: Sequence[str]) -> NamedClasses:
    where = f"{store.uri}/{path}"
    # As written: `no` is a class name to whoever wrote it, and neither is 1.10 the number 1.1.
    content = read_document(_content(store, path), where, SourceError, as_written=True).value
    if not isinstance(content, dict) or not content.get("names"):
        raise SourceError(where, rule="has no class names", remedy=_MEND_NAMES)
    if "kpt_shape" in content:
        raise SourceError(
            where,
            rule="describes keypoints (kpt_shape), and yololine trains box detectors",
            remedy="export the labels as boxes, and drop kpt_shape",
        )
    names = _in_order(where, content["names"])
    unnamed = [i for i, name in enumerate(names) if not isinstance(name, str) or name in _NO_TEXT]
    if unnamed:
        raise SourceError(
            f"{where}: class {unnamed[0]}", rule="has no name in plain text", remedy=_MEND_NAMES
        )
    count = content.get("nc", "")
    if count not in _NO_TEXT and str(count) != str(len(names)):
        raise SourceError(
            f"{where}: nc: {count}"[:300],
            rule=f"but names has {len(names)} classes",
            remedy="correct nc, or leave it out",
        )
    return NamedClasses(
        names=_checked(where, names),
        files=(path,),
        notes=tuple(_notes_on_places(path, content, paths)),
    )


def _in_order(where: str, names: Any) -> list[Any]:
    if isinstance(names, dict):
        ids = {int(key): name for key, name in names.items() if key.isdecimal()}
        if sorted(ids) != list(range(len(names))):
            raise SourceError(
                f"{where}: names with the ids {', '.join(map(str, names))}"[:300],
                rule=f"ids must be 0 to {len(names) - 1}, each once",
                remedy="number the classes from 0 without a gap",
            )
        return [ids[i] for i in range(len(ids))]
    if not isinstance(names, list):
        raise SourceError(f"{where}: names: {names}"[:300], rule="is no list", remedy=_MEND_NAMES)
    return names


def _notes_on_places(path: str, content: dict[str, Any], paths: Sequence[str]) -> Iterator[str]:
    """What a data.yaml says of where pictures are: cleaning looks for itself.

    Exports name folders of the machine they were made on, so that nothing follows from it.
    """
    named = {key: content[key] for key in _SPLIT_KEYS if content.get(key)}
    missing = [
        f"{key}: {place}"
        for key, places in named.items()
        for place in (places if isinstance(places, list) else [places])
        if isinstance(place, str) and not _is_there(path, content.get("path"), place, paths)
    ]
    if missing:
        yield (
            f"{path} names places that are not in the source ({', '.join(missing)[:200]}). Its "
            "places are not followed: every picture below the source is used."
        )
    if len(named) > 1:
        yield (
            f"The division of {path} into {' and '.join(named)} is not taken over: pictures are "
            "split by val_fraction and test_fraction."
        )


def _is_there(data_yaml: str, root: Any, place: str, paths: Sequence[str]) -> bool:
    folder = posixpath.dirname(data_yaml)
    roots = [folder, posixpath.join(folder, root)] if isinstance(root, str) else [folder]
    for start in roots:
        wanted = posixpath.normpath(posixpath.join(start, place))
        # Some exports write ../train/images for train/images.
        while wanted.startswith("../"):
            wanted = wanted.removeprefix("../")
        if wanted == "." or any(p == wanted or p.startswith(f"{wanted}/") for p in paths):
            return True
    return False


def _classes_txt(store: Store, path: str) -> NamedClasses:
    where = f"{store.uri}/{path}"
    try:
        lines = _content(store, path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(where, rule="is no UTF-8 text", remedy="save it as UTF-8") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise SourceError(
            where, rule="has no class names", remedy="write one class name per line, or delete it"
        )
    return NamedClasses(names=_checked(where, lines), files=(path,))


def _content(store: Store, path: str) -> bytes:
    size_bytes = store.size_bytes(path) or 0
    if size_bytes > MAX_BYTES:
        raise SourceError(
            f"{store.uri}/{path} ({size_bytes} bytes)",
            rule=f"is larger than {MAX_BYTES} bytes",
            remedy="check that it names the classes and nothing else",
        )
    return store.read_bytes(path)


def _checked(where: str, written: Iterable[str]) -> tuple[str, ...]:
    names = [plain_name(name) for name in written]
    if "" in names:
        raise SourceError(
            f"{where}: class {names.index('')}", rule="has an empty name", remedy="name it"
        )
    for name in names:
        if len(name) > MAX_CLASS_NAME or not name.isprintable():
            raise SourceError(
                f"{where}: {name[:80]!r}",
                rule=f"is no class name: at most {MAX_CLASS_NAME} characters that can be shown",
                remedy="give it a short name",
            )
    repeated = sorted(name for name, n in Counter(names).items() if n > 1)
    if repeated:
        raise SourceError(
            f"{where}: {', '.join(repeated)}",
            rule="named more than once",
            remedy="give each class its own name",
        )
    return tuple(names)
