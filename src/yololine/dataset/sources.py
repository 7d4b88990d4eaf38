"""The raw images and labels as they lie in a store: listing, changes, layout, pairing."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath

import yaml

from yololine.errors import SourceError
from yololine.storage.base import Entry, Store

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
DATA_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASSES_TXT = "classes.txt"
_LABEL_SUFFIX = {"yolo": ".txt", "voc": ".xml"}
_SWAPS = {
    "yolo": (("images", "labels"),),
    "voc": (("jpegimages", "Annotations"), ("images", "annotations"), ("images", "labels")),
}
# Text files that tools leave beside pictures and that are no labels.
_NO_LABEL = re.compile(
    r"(classes|labels|obj|names|readme|licen[sc]e|notice|changelog|requirements|attribution"
    r"|train(val)?|val(id)?|test)([._-].*)?\.txt",
    re.IGNORECASE,
)
_KNOWN_LAYOUTS = (
    "YOLO (images/ and labels/ with one .txt per picture, or both in one folder; data.yaml or "
    "classes.txt names the classes) and Pascal VOC (JPEGImages/ and Annotations/ with one .xml "
    "per picture, or both in one folder)"
)


class SourceFormat(StrEnum):
    """How labels are written; `auto` looks for itself."""

    AUTO = "auto"
    YOLO = "yolo"
    VOC = "voc"


@dataclass(frozen=True, kw_only=True)
class SourceListing:
    """Every file of a source, in the order of their paths."""

    entries: tuple[Entry, ...]

    @cached_property
    def digest(self) -> str:
        """sha256 over a line of path, size and MD5 per file."""
        whole = hashlib.sha256()
        for entry in self.entries:
            whole.update(f"{entry.path}\0{entry.size_bytes}\0{entry.md5}\n".encode())
        return whole.hexdigest()

    @property
    def files(self) -> int:
        """Number of files."""
        return len(self.entries)

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(entry.size_bytes for entry in self.entries)

    def to_json(self) -> bytes:
        """Compact JSON."""
        rows = [[entry.path, entry.size_bytes, entry.md5] for entry in self.entries]
        return json.dumps({"entries": rows}, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> SourceListing:
        """What `to_json` wrote."""
        return cls(
            entries=tuple(
                Entry(path=path, size_bytes=size_bytes, md5=md5)
                for path, size_bytes, md5 in json.loads(data)["entries"]
            )
        )


@dataclass(frozen=True, kw_only=True)
class ListingDiff:
    """Paths that came, went, or hold other content."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def list_source(store: Store) -> SourceListing:
    """List a source; hidden files and folders (`.name`) are no part of it.

    Raises:
        SourceError: There is no file.
        StoreError: The store cannot be read.
    """
    entries = tuple(store.entries())
    if not entries:
        raise SourceError(
            store.uri,
            rule="holds no file",
            remedy="check the source URI, or upload images and labels to it",
        )
    return SourceListing(entries=entries)


def diff_listings(old: SourceListing, new: SourceListing) -> ListingDiff:
    """What changed from one listing to the next."""
    before = {entry.path: entry for entry in old.entries}
    after = {entry.path: entry for entry in new.entries}
    return ListingDiff(
        added=tuple(path for path in after if path not in before),
        removed=tuple(path for path in before if path not in after),
        changed=tuple(p for p, entry in after.items() if p in before and before[p] != entry),
    )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture and its label file, None where it has none."""

    image: str
    label: str | None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which file of a source is what; every listed file is in exactly one of the fields."""

    source_format: SourceFormat
    """YOLO or VOC, never auto."""
    class_names: tuple[str, ...] | None
    """None where no file names them: they are then found in the labels."""
    pairs: tuple[Pair, ...]
    orphan_labels: tuple[str, ...]
    """Label files without a picture."""
    metadata: tuple[str, ...]
    """Files that name the classes."""
    ignored: tuple[str, ...]
    """Everything else: README, LICENSE, labels of another format."""


def detect_layout(
    store: Store, listing: SourceListing, source_format: SourceFormat | str = SourceFormat.AUTO
) -> Layout:
    """Find pictures, their labels and the class names.

    YOLO: `images/.../a.jpg` goes with `labels/.../a.txt` (the last `images` of the path), or with
    an `a.txt` beside it. VOC: `JPEGImages/a.jpg` goes with `Annotations/a.xml`, or an `a.xml`
    beside it, or the only `a.xml` anywhere.

    Raises:
        SourceError: No pictures, no labels, no layout that is known, two layouts at once, or a
            data.yaml that does not name the classes.
    """
    wanted = _as_format(source_format)
    paths = [entry.path for entry in listing.entries]
    images = [path for path in paths if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise SourceError(
            f"{store.uri} ({_found(paths)})",
            rule="holds no picture",
            remedy="give pictures as " + ", ".join(s[1:] for s in IMAGE_SUFFIXES),
        )
    paired = {
        kind: _pair(images, paths, kind)
        for kind in (SourceFormat.YOLO, SourceFormat.VOC)
        if wanted in {kind, SourceFormat.AUTO}
    }
    kind = _choose(store.uri, paths, paired)
    pairs = paired[kind]
    used = {pair.label for pair in pairs} | set(images)
    image_folders = {PurePosixPath(image).parent for image in images}
    orphans = [p for p in paths if p not in used and _is_label(p, kind, image_folders)]
    class_names, metadata = _class_names(store, paths, kind)
    spoken_for = used | set(orphans) | set(metadata)
    return Layout(
        source_format=kind,
        class_names=class_names,
        pairs=tuple(pairs),
        orphan_labels=tuple(orphans),
        metadata=metadata,
        ignored=tuple(path for path in paths if path not in spoken_for),
    )


def _as_format(source_format: str) -> SourceFormat:
    try:
        return SourceFormat(source_format)
    except ValueError:
        raise SourceError(
            f"source_format {source_format!r}",
            rule="is not known",
            remedy="use one of: " + ", ".join(SourceFormat),
        ) from None


def _found(paths: Iterable[str]) -> str:
    """The commonest suffixes, for messages."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "no suffix" for path in paths)
    return "found " + ", ".join(f"{n} {suffix}" for suffix, n in counts.most_common(5))


def _choose(uri: str, paths: list[str], paired: dict[SourceFormat, list[Pair]]) -> SourceFormat:
    matched = [kind for kind, pairs in paired.items() if any(pair.label for pair in pairs)]
    if len(matched) == 1:
        return matched[0]
    if matched:
        counts = {kind: sum(p.label is not None for p in paired[kind]) for kind in matched}
        raise SourceError(
            uri,
            rule="holds labels in two formats, for "
            + " and ".join(f"{n} pictures in {kind}" for kind, n in counts.items()),
            remedy="set source_format to yolo or voc",
        )
    suffixes = [_LABEL_SUFFIX[kind] for kind in paired]
    labels = [
        p
        for p in paths
        if PurePosixPath(p).suffix.lower() in suffixes
        and not _NO_LABEL.fullmatch(PurePosixPath(p).name)
    ]
    if not labels:
        raise SourceError(
            f"{uri} ({_found(paths)})",
            rule=f"holds pictures and no label file ({' or '.join(suffixes)})",
            remedy=f"add labels; layouts that are known: {_KNOWN_LAYOUTS}",
        )
    raise SourceError(
        f"{uri} ({_found(paths)})",
        rule=f"is no layout that is known: no label lies where a picture's label should, for "
        f"instance {labels[0]} belongs to no picture",
        remedy=f"lay the files out as {_KNOWN_LAYOUTS}",
    )


def _pair(images: list[str], paths: list[str], kind: SourceFormat) -> list[Pair]:
    suffix = _LABEL_SUFFIX[kind]
    labels = {path: path for path in paths if PurePosixPath(path).suffix.lower() == suffix}
    # Exact names win, so that a.jpg and A.jpg of one folder keep their own labels.
    labels = {path.casefold(): path for path in labels} | labels
    by_stem: dict[str, list[str]] = defaultdict(list)
    if kind is SourceFormat.VOC:
        for path in set(labels.values()):
            by_stem[PurePosixPath(path).stem].append(path)
        stems = Counter(PurePosixPath(path).stem for path in images)
    pairs: list[Pair] = []
    for image in images:
        label = next((labels[c] for c in _candidates(image, kind) if c in labels), None)
        if label is None and kind is SourceFormat.VOC:
            stem = PurePosixPath(image).stem
            if stems[stem] == 1 and len(by_stem[stem]) == 1:
                label = by_stem[stem][0]
        pairs.append(Pair(image=image, label=label))
    return pairs


def _candidates(image: str, kind: SourceFormat) -> list[str]:
    """Where the picture's label may lie, best first: as spelt, then in any case of letters."""
    *folders, _ = image.split("/")
    name = PurePosixPath(image).stem + _LABEL_SUFFIX[kind]
    found: list[str] = []
    for here, there in _SWAPS[kind]:
        places = [i for i, folder in enumerate(folders) if folder.lower() == here]
        if places:
            found.append(
                "/".join([*folders[: places[-1]], there, *folders[places[-1] + 1 :], name])
            )
    found.append("/".join([*folders, name]))
    return [*found, *(path.casefold() for path in found)]


def _is_label(path: str, kind: SourceFormat, image_folders: set[PurePosixPath]) -> bool:
    pure = PurePosixPath(path)
    if pure.suffix.lower() != _LABEL_SUFFIX[kind]:
        return False
    if kind is SourceFormat.VOC:
        return True
    if _NO_LABEL.fullmatch(pure.name):
        return False
    in_labels = any(part.lower() == "labels" for part in pure.parts[:-1])
    return in_labels or pure.parent in image_folders


def _class_names(
    store: Store, paths: list[str], kind: SourceFormat
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The class names and the files that name them."""
    if kind is SourceFormat.YOLO:
        found = _shallowest(paths, DATA_YAML_NAMES)
        if found:
            return _agreeing(store, found, {p: _from_data_yaml(store, p) for p in found})
    found = _shallowest(paths, (CLASSES_TXT,))
    if found:
        return _agreeing(store, found, {p: _from_classes_txt(store, p) for p in found})
    return None, ()


def _shallowest(paths: list[str], names: tuple[str, ...]) -> tuple[str, ...]:
    found = [path for path in paths if PurePosixPath(path).name.lower() in names]
    depth = min((path.count("/") for path in found), default=0)
    return tuple(path for path in found if path.count("/") == depth)


def _agreeing(
    store: Store, found: tuple[str, ...], names: dict[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if len(set(names.values())) > 1:
        raise SourceError(
            f"{store.uri}: {', '.join(found)}",
            rule="name different classes",
            remedy="keep one of them, at the top of the source",
        )
    return names[found[0]], found


def _from_data_yaml(store: Store, path: str) -> tuple[str, ...]:
    where = f"{store.uri}/{path}"
    mend = "write names as a list of class names, such as names: [scratch, dent]"
    try:
        content = yaml.safe_load(store.read_bytes(path).decode("utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SourceError(
            f"{where}{line}", rule=f"is no YAML ({error.problem})", remedy="mend the file"
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(where, rule=f"is no YAML ({error})", remedy="mend the file") from error
    if not isinstance(content, dict) or not content.get("names"):
        raise SourceError(where, rule="has no class names", remedy=mend)
    if "kpt_shape" in content:
        raise SourceError(
            where,
            rule="describes keypoints (kpt_shape), and yololine trains box detectors",
            remedy="export the labels as boxes, and drop kpt_shape",
        )
    names = content["names"]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise SourceError(
                f"{where}: names with the ids {', '.join(str(key) for key in names)}"[:300],
                rule=f"ids must be 0 to {len(names) - 1}, each once",
                remedy="number the classes from 0 without a gap",
            )
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list):
        raise SourceError(f"{where}: names: {names!r}"[:300], rule="is no list", remedy=mend)
    unnamed = [i for i, name in enumerate(names) if not isinstance(name, str | int | float)]
    if unnamed:
        raise SourceError(
            f"{where}: class {unnamed[0]}", rule="has no name in plain text", remedy=mend
        )
    count = content.get("nc")
    if count is not None and count != len(names):
        raise SourceError(
            f"{where}: nc: {count}",
            rule=f"but names has {len(names)} classes",
            remedy="correct nc, or leave it out",
        )
    return _checked(where, [str(name).strip() for name in names])


def _from_classes_txt(store: Store, path: str) -> tuple[str, ...]:
    where = f"{store.uri}/{path}"
    try:
        lines = store.read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(where, rule="is no UTF-8 text", remedy="save it as UTF-8") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise SourceError(
            where, rule="has no class names", remedy="write one class name per line, or delete it"
        )
    return _checked(where, [line.strip() for line in lines])


def _checked(where: str, names: list[str]) -> tuple[str, ...]:
    if "" in names:
        raise SourceError(
            f"{where}: class {names.index('')}", rule="has an empty name", remedy="name it"
        )
    repeated = sorted(name for name, n in Counter(names).items() if n > 1)
    if repeated:
        raise SourceError(
            f"{where}: {', '.join(repeated)}",
            rule="named more than once",
            remedy="give each class its own name",
        )
    return tuple(names)
