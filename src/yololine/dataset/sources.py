"""The raw images and labels as they lie in a store: listing, changes, layout, pairing."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from yololine.dataset.class_names import DATA_YAML_NAMES, NamedClasses, read_class_names
from yololine.dataset.left_out import left_out
from yololine.errors import SourceError, UsageError
from yololine.storage import open_object
from yololine.storage.base import Entry, Store, safe_path
from yololine.storage.local import LocalStore

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
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
        raise no_file(store)
    return SourceListing(entries=entries)


def no_file(store: Store) -> SourceError:
    """What is wrong with a source in which no file was found.

    Raises:
        StoreError: The store cannot be read.
    """
    if _is_itself_a_file(store):
        return SourceError(
            store.uri,
            rule="is a file, and a source is a folder of pictures and labels",
            remedy="unpack it and give the folder: archives are not read"
            if store.uri.lower().endswith(ARCHIVE_SUFFIXES)
            else "give the folder that it lies in",
        )
    if isinstance(store, LocalStore) and not store.root.exists():
        return SourceError(store.uri, rule="is not there", remedy="check source_uri")
    unread = left_out(store)
    return SourceError(
        store.uri,
        rule="holds no file, hidden ones apart" + (f"; left out: {unread}" if unread else ""),
        remedy="copy what the links lead to into the source"
        if unread
        else "check source_uri, or upload images and labels to it",
    )


def _is_itself_a_file(store: Store) -> bool:
    if isinstance(store, LocalStore):
        return store.root.is_file()
    _, _, key = store.uri.partition("://")[2].partition("/")
    if not key:
        return False
    folder, name = open_object(store.uri)
    return folder.exists(name)


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
    notes: tuple[str, ...]
    """Sentences about files that are not taken as their owner may have meant them."""


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
    _check_names(store, paths)
    images = [path for path in paths if _suffix(path) in IMAGE_SUFFIXES]
    unread = left_out(store)
    if not images:
        raise _no_picture(store, paths, unread)
    paired = {
        kind: _pair(images, paths, kind)
        for kind in (SourceFormat.YOLO, SourceFormat.VOC)
        if wanted in {kind, SourceFormat.AUTO}
    }
    kind = _choose(store.uri, paths, paired)
    pairs = paired[kind]
    used = {pair.label for pair in pairs} | set(images)
    image_folders = {posixpath.dirname(image) for image in images}
    orphans = [p for p in paths if p not in used and _is_label(p, kind, image_folders)]
    named = read_class_names(store, paths, data_yaml=kind is SourceFormat.YOLO)
    metadata = named.files if named else ()
    spoken_for = used | set(orphans) | set(metadata)
    ignored = tuple(path for path in paths if path not in spoken_for)
    return Layout(
        source_format=kind,
        class_names=named.names if named else None,
        pairs=tuple(pairs),
        orphan_labels=tuple(orphans),
        metadata=metadata,
        ignored=ignored,
        notes=tuple(_notes(pairs, named, ignored, unread)),
    )


def _check_names(store: Store, paths: Iterable[str]) -> None:
    """Refuse files that a store lists and cannot be asked for."""
    for path in paths:
        try:
            safe_path(path)
        except UsageError as error:
            raise SourceError(
                f"{store.uri}: {path!r}",
                rule="holds a backslash, or a folder without a name or called . or ..",
                remedy="rename it; an archive made on Windows unpack with 7z or bsdtar",
            ) from error


def _no_picture(store: Store, paths: Sequence[str], unread: str) -> SourceError:
    archives = [path for path in paths if path.lower().endswith(ARCHIVE_SUFFIXES)]
    remedy = "give pictures as " + ", ".join(s[1:] for s in IMAGE_SUFFIXES)
    if archives:
        remedy = f"unpack {archives[0]}: archives are not read"
    elif unread:
        remedy = "copy what the links lead to into the source"
    elif any(posixpath.basename(path).lower() in DATA_YAML_NAMES for path in paths):
        remedy += "; they must lie in the source: places that a data.yaml names are not followed"
    return SourceError(
        f"{store.uri} ({_found(paths)})",
        rule="holds no picture" + (f"; left out: {unread}" if unread else ""),
        remedy=remedy,
    )


def _notes(
    pairs: Sequence[Pair], named: NamedClasses | None, ignored: Sequence[str], unread: str
) -> Iterator[str]:
    if named:
        yield from named.notes
    of_label = Counter(pair.label for pair in pairs if pair.label)
    shared = [label for label, pictures in of_label.items() if pictures > 1]
    if shared:
        yield (
            f"Label files of more than one picture: {len(shared)}, for instance {shared[0]}. The "
            "boxes are taken for each of these pictures."
        )
    if unread:
        yield f"Left out, as they are no files within the source: {unread}."
    if ignored:
        yield f"Ignored, as neither picture nor label: {_suffixes(ignored)}."


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
    return f"found {_suffixes(paths)}"


def _suffixes(paths: Iterable[str]) -> str:
    """How many files have the commonest suffixes."""
    counts = Counter(_suffix(path) or "without suffix" for path in paths)
    told = ", ".join(f"{n} {suffix[:20]}" for suffix, n in counts.most_common(5))
    return told + (", and others" if len(counts) > 5 else "")


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
        if _suffix(p) in suffixes and not _NO_LABEL.fullmatch(posixpath.basename(p))
    ]
    if not labels:
        has_json = any(path.lower().endswith(".json") for path in paths)
        export = "COCO's .json is not read: export it as YOLO or Pascal VOC" if has_json else ""
        raise SourceError(
            f"{uri} ({_found(paths)})",
            rule=f"holds pictures and no label file ({' or '.join(suffixes)})",
            remedy=f"{export or 'add labels'}; layouts that are known: {_KNOWN_LAYOUTS}",
        )
    raise SourceError(
        f"{uri} ({_found(paths)})",
        rule=f"is no layout that is known: no label lies where a picture's label should, for "
        f"instance {labels[0]} belongs to no picture",
        remedy=f"lay the files out as {_KNOWN_LAYOUTS}",
    )


def _pair(images: list[str], paths: list[str], kind: SourceFormat) -> list[Pair]:
    suffix = _LABEL_SUFFIX[kind]
    labels = {path: path for path in paths if _suffix(path) == suffix}
    # Exact names win, so that a.jpg and A.jpg of one folder keep their own labels.
    labels = {_folded(path): path for path in labels} | labels
    by_stem: dict[str, list[str]] = defaultdict(list)
    if kind is SourceFormat.VOC:
        for path in set(labels.values()):
            by_stem[_stem(path)].append(path)
        stems = Counter(_stem(path) for path in images)
    pairs: list[Pair] = []
    for image in images:
        label = next((labels[c] for c in _candidates(image, kind) if c in labels), None)
        if label is None and kind is SourceFormat.VOC:
            stem = _stem(image)
            if stems[stem] == 1 and len(by_stem[stem]) == 1:
                label = by_stem[stem][0]
        pairs.append(Pair(image=image, label=label))
    return pairs


def _candidates(image: str, kind: SourceFormat) -> list[str]:
    """Where the picture's label may lie, best first: as spelt, then as `_folded`."""
    *folders, _ = image.split("/")
    name = posixpath.splitext(posixpath.basename(image))[0] + _LABEL_SUFFIX[kind]
    found: list[str] = []
    for here, there in _SWAPS[kind]:
        places = [i for i, folder in enumerate(folders) if folder.lower() == here]
        if places:
            found.append(
                "/".join([*folders[: places[-1]], there, *folders[places[-1] + 1 :], name])
            )
    found.append("/".join([*folders, name]))
    return [*found, *map(_folded, found)]


def _folded(path: str) -> str:
    """The path in one case, its accents in one form: macOS writes names apart that others join."""
    return unicodedata.normalize("NFC", path).casefold()


def _stem(path: str) -> str:
    return unicodedata.normalize("NFC", posixpath.splitext(posixpath.basename(path))[0])


def _suffix(path: str) -> str:
    """In lower case; not by pathlib, which takes seconds for a hundred thousand names."""
    return posixpath.splitext(path)[1].lower()


def _is_label(path: str, kind: SourceFormat, image_folders: set[str]) -> bool:
    if _suffix(path) != _LABEL_SUFFIX[kind]:
        return False
    if kind is SourceFormat.VOC:
        return True
    folder, name = posixpath.split(path)
    if _NO_LABEL.fullmatch(name):
        return False
    return "labels" in folder.lower().split("/") or folder in image_folders
