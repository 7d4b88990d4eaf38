"""Label files of YOLO and Pascal VOC, read into boxes with the rules a box must keep.

Boxes are x y w h in pixels of the upright image, edges counted from 0 at the left of the first
column. VOC's xmin, ymin, xmax, ymax are taken as such edges, as labelImg and its successors write
them, so that a box may end at xmax = width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from xml.parsers import expat

from yololine.dataset.class_names import plain_name
from yololine.errors import SourceError
from yololine.frozen import Frozen

MAX_BYTES = 16 << 20
"""Of one label file: hundreds of thousands of boxes. A larger one is no label file."""
TOLERANCE_PX = 1.0
TOLERANCE_FRACTION = 0.01
MIN_EXTENT_PX = 1.0
# Six decimals, which is what tools write, move an edge of a large picture by this much.
_ROUNDING_PX = 0.01

BoxXywh = tuple[float, float, float, float]


class BoxFaultReason(StrEnum):
    """Why a box is refused."""

    COLUMNS = "wrong number of columns"
    INCOMPLETE = "incomplete object"
    NOT_A_NUMBER = "not a number"
    NOT_FINITE = "not finite"
    UNKNOWN_CLASS = "unknown class"
    ZERO_EXTENT = "zero extent"
    OUTSIDE = "box outside image"
    DUPLICATE = "duplicate box"


class BoxFault(Frozen):
    """One refused box; `line` is where it starts in the label file, from 1."""

    file: str
    line: int
    reason: BoxFaultReason
    detail: str
    box_xywh: BoxXywh | None = None
    """As written, before clipping, where it could be read."""


@dataclass(frozen=True, kw_only=True)
class LabelledBox:
    """One good box, clipped to the image."""

    line: int
    category: int
    box_xywh: BoxXywh


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A label file's boxes, good and refused."""

    boxes: tuple[LabelledBox, ...]
    faults: tuple[BoxFault, ...]
    polygons: int = 0
    """How many of the boxes were drawn around a polygon."""
    image_size_wh: tuple[int, int] | None = None
    """Of the picture the labels were made for, where the file says so."""


class _Fault(Exception):
    def __init__(
        self, *, reason: BoxFaultReason, detail: str, box_xywh: BoxXywh | None = None
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.box_xywh = box_xywh
        super().__init__(detail)


def parse_yolo(
    data: bytes, file: str, class_names: Sequence[str], image_size_wh: tuple[int, int]
) -> Labels:
    """Read `class cx cy w h` lines, fractions of the image; polygons become their bounding box.

    Raises:
        SourceError: The file is no text.
    """
    collected = _Collected(file=file, image_size_wh=image_size_wh, unit="fractions")
    for line, columns in _yolo_lines(data, file):
        try:
            box_xywh = _yolo_box(columns[1:], image_size_wh)
            category = _yolo_category(columns[0], class_names, box_xywh)
        except _Fault as fault:
            collected.refuse(line, fault)
        else:
            collected.take(line, category, box_xywh, polygon=_is_polygon(columns[1:]))
    return collected.labels()


def yolo_class_ids(data: bytes, file: str) -> set[int]:
    """The class ids of a YOLO label file, unreadable lines left out.

    Raises:
        SourceError: The file is no text.
    """
    ids: set[int] = set()
    for _, columns in _yolo_lines(data, file):
        with suppress(_Fault):
            number = _number(columns[0])
            if number >= 0 and number.is_integer():
                ids.add(int(number))
    return ids


def _yolo_lines(data: bytes, file: str) -> list[tuple[int, list[str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = ", but UTF-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else ""
        raise SourceError(
            file, rule=f"is no UTF-8 text{found}", remedy="export the labels again"
        ) from error
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line.split()) for number, line in lines if line.strip()]


def _yolo_category(text: str, class_names: Sequence[str], box_xywh: BoxXywh) -> int:
    number = _number(text)
    if not 0 <= number < len(class_names) or number != int(number):
        last = len(class_names) - 1
        named = "none is named"
        if class_names:
            named = f"{last + 1} classes are named (0-{last})" if last else "only class 0 is named"
        raise _Fault(
            reason=BoxFaultReason.UNKNOWN_CLASS,
            detail=f"class {text[:20]}, but {named}",
            box_xywh=box_xywh,
        )
    return int(number)


def _is_polygon(columns: list[str]) -> bool:
    """Whether the columns behind the class are points: 3 or more of x and y."""
    return len(columns) >= 6 and len(columns) % 2 == 0


def _yolo_box(columns: list[str], image_size_wh: tuple[int, int]) -> BoxXywh:
    """Box in pixels from the columns behind the class."""
    count = len(columns)
    polygon = _is_polygon(columns)
    if count != 4 and not polygon:
        hint = ""
        if count == 5:
            hint = ", and a prediction's confidence is none of them"
        elif count == 0:
            hint = ", with spaces between them"
        raise _Fault(
            reason=BoxFaultReason.COLUMNS,
            detail=f"{_counted(count + 1, 'column')}; a box has 5 (class cx cy w h), a polygon of "
            f"n points 2n+1{hint}",
        )
    width, height = image_size_wh
    values = [_number(text) for text in columns]
    if polygon:
        xs, ys = values[0::2], values[1::2]
        x, y, w, h = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    else:
        cx, cy, w, h = values
        x, y = cx - w / 2, cy - h / 2
    return _in_range((x * width, y * height, w * width, h * height))


def parse_voc(
    data: bytes, file: str, class_names: Sequence[str], image_size_wh: tuple[int, int]
) -> Labels:
    """Read the objects of a Pascal VOC file.

    Raises:
        SourceError: The file is no well-formed XML, declares a DOCTYPE, or is no annotation.
    """
    document = _read_voc(data, file)
    ids = {name: i for i, name in enumerate(class_names)}
    collected = _Collected(file=file, image_size_wh=image_size_wh, unit="pixels")
    for item in document.objects:
        try:
            box_xywh = _voc_box(item)
            category = _voc_category(item, ids, box_xywh)
        except _Fault as fault:
            collected.refuse(item.line, fault)
        else:
            collected.take(item.line, category, box_xywh)
    return collected.labels(made_for_wh=document.image_size_wh())


def voc_class_names(data: bytes, file: str) -> set[str]:
    """The class names of a VOC file.

    Raises:
        SourceError: As `parse_voc`.
    """
    names = (plain_name(item.values.get("name", "")) for item in _read_voc(data, file).objects)
    return {name for name in names if name}


_MAX_DEPTH = 32
_EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class _VocObject:
    line: int
    values: dict[str, str] = field(default_factory=dict)


def _voc_category(item: _VocObject, ids: dict[str, int], box_xywh: BoxXywh) -> int:
    name = plain_name(item.values.get("name", ""))
    if not name:
        raise _Fault(reason=BoxFaultReason.INCOMPLETE, detail="has no name", box_xywh=box_xywh)
    if name not in ids:
        raise _Fault(
            reason=BoxFaultReason.UNKNOWN_CLASS,
            detail=f"class {name[:60]!r}, but the classes are {', '.join(ids)}"[:300],
            box_xywh=box_xywh,
        )
    return ids[name]


def _voc_box(item: _VocObject) -> BoxXywh:
    missing = [edge for edge in _EDGES if not item.values.get(f"bndbox/{edge}", "").strip()]
    if missing:
        raise _Fault(reason=BoxFaultReason.INCOMPLETE, detail=f"bndbox lacks {', '.join(missing)}")
    x1, y1, x2, y2 = (_number(item.values[f"bndbox/{edge}"]) for edge in _EDGES)
    box_xywh = _in_range((x1, y1, x2 - x1, y2 - y1))
    if x2 < x1 or y2 < y1:
        raise _Fault(
            reason=BoxFaultReason.ZERO_EXTENT,
            detail=f"max lies before min: x {x1:g} to {x2:g}, y {y1:g} to {y2:g}",
            box_xywh=box_xywh,
        )
    return box_xywh


class _VocDocument:
    """What expat found: nothing is expanded, and nesting costs no recursion."""

    def __init__(self) -> None:
        self.objects: list[_VocObject] = []
        self.root = ""
        self._size: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text_piece

    def image_size_wh(self) -> tuple[int, int] | None:
        """Where the file says one; some tools write 0 0 for "unknown"."""
        try:
            width, height = int(float(self._size["width"])), int(float(self._size["height"]))
        except (KeyError, ValueError, OverflowError):
            return None
        return (width, height) if width > 0 and height > 0 else None

    def _doctype(self, *_: object) -> None:
        # Entities are declared there, and a few of them can unfold into gigabytes.
        raise ValueError("it declares a DOCTYPE")

    def _start(self, tag: str, _: dict[str, str]) -> None:
        self.root = self.root or tag
        self._path.append(tag)
        if len(self._path) > _MAX_DEPTH:
            raise ValueError(f"it nests deeper than {_MAX_DEPTH} elements")
        self._text = []
        if self._path[1:] == ["object"]:
            self.objects.append(_VocObject(line=self.parser.CurrentLineNumber))

    def _text_piece(self, text: str) -> None:
        self._text.append(text)

    def _end(self, _: str) -> None:
        inside = "/".join(self._path[1:])
        text = "".join(self._text)
        if inside.startswith("object/"):
            # Only what lies directly in object or its bndbox: parts have names and boxes too.
            self.objects[-1].values.setdefault(inside.removeprefix("object/"), text)
        elif inside.startswith("size/"):
            self._size[inside.removeprefix("size/")] = text
        self._path.pop()
        self._text = []


def _read_voc(data: bytes, file: str) -> _VocDocument:
    document = _VocDocument()
    try:
        document.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SourceError(
            f"{file} line {error.lineno}",
            rule=f"is no well-formed XML ({expat.ErrorString(error.code)})",
            remedy="export the labels again",
        ) from error
    except (ValueError, LookupError) as error:
        raise SourceError(
            file, rule=f"is refused: {error}", remedy="export the labels again without it"
        ) from error
    if document.root != "annotation":
        raise SourceError(
            file,
            rule=f"is no Pascal VOC annotation: its root is <{document.root[:40]}>",
            remedy="export the labels as Pascal VOC",
        )
    return document


_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def _number(text: str) -> float:
    try:
        value = float(text)
        if math.isfinite(value) and not _NUMBER.fullmatch(text):
            raise ValueError  # Python also reads 1_0, and digits of other scripts
    except ValueError:
        hint = "; a decimal point is wanted" if _DECIMAL_COMMA.fullmatch(text.strip()) else ""
        raise _Fault(
            reason=BoxFaultReason.NOT_A_NUMBER, detail=f"{text.strip()[:40]!r}{hint}"
        ) from None
    if not math.isfinite(value):
        raise _Fault(reason=BoxFaultReason.NOT_FINITE, detail=f"{text.strip()[:40]!r}")
    return value


def _in_range(box_xywh: BoxXywh) -> BoxXywh:
    x, y, w, h = box_xywh
    if not (math.isfinite(x + w) and math.isfinite(y + h)):
        raise _Fault(reason=BoxFaultReason.NOT_FINITE, detail="too large to be pixels")
    return box_xywh


@dataclass(kw_only=True)
class _Collected:
    """Boxes and faults of one file, in the order of its lines."""

    file: str
    image_size_wh: tuple[int, int]
    unit: str
    """What the file's numbers should be: fractions of the image, or pixels."""
    _boxes: list[LabelledBox] = field(default_factory=list)
    _faults: list[BoxFault] = field(default_factory=list)
    _seen: dict[tuple[float, ...], int] = field(default_factory=dict)

    _polygons: int = 0

    def take(self, line: int, category: int, box_xywh: BoxXywh, *, polygon: bool = False) -> None:
        try:
            clipped = _clip(box_xywh, self.image_size_wh, unit=self.unit)
            key = (category, *(round(value, 3) for value in clipped))
            if key in self._seen:
                raise _Fault(
                    reason=BoxFaultReason.DUPLICATE,
                    detail=f"same class and box as line {self._seen[key]}",
                    box_xywh=box_xywh,
                )
        except _Fault as fault:
            self.refuse(line, fault)
            return
        self._seen[key] = line
        self._polygons += polygon
        self._boxes.append(LabelledBox(line=line, category=category, box_xywh=clipped))

    def refuse(self, line: int, fault: _Fault) -> None:
        self._faults.append(
            BoxFault(
                file=self.file,
                line=line,
                reason=fault.reason,
                detail=fault.detail,
                box_xywh=fault.box_xywh,
            )
        )

    def labels(self, *, made_for_wh: tuple[int, int] | None = None) -> Labels:
        return Labels(
            boxes=tuple(self._boxes),
            faults=tuple(self._faults),
            polygons=self._polygons,
            image_size_wh=made_for_wh,
        )


def _counted(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}" + ("es" if noun.endswith("s") else "s")


def _clip(box_xywh: BoxXywh, image_size_wh: tuple[int, int], *, unit: str) -> BoxXywh:
    """The box inside the image.

    An edge may lie outside by up to 1 pixel or 1 % of the side, whichever is more: that is
    rounding, and is cut off without a word.
    """
    width, height = image_size_wh
    x, y, w, h = box_xywh
    if w <= 0 or h <= 0:
        raise _Fault(
            reason=BoxFaultReason.ZERO_EXTENT, detail=f"{w:g} x {h:g} px", box_xywh=box_xywh
        )
    over = max(_over(x, w, width), _over(y, h, height))
    if over > 0:
        # A box that only lies wrong is not a whole picture away.
        mistaken = unit == "fractions" and over > max(width, height)
        raise _Fault(
            reason=BoxFaultReason.OUTSIDE,
            detail=f"x {x:.1f} to {x + w:.1f}, y {y:.1f} to {y + h:.1f} in a picture of "
            f"{width} x {height} px" + ("; pixels where fractions belong?" if mistaken else ""),
            box_xywh=box_xywh,
        )
    x1, y1 = max(x, 0.0), max(y, 0.0)
    x2, y2 = min(x + w, float(width)), min(y + h, float(height))
    if min(x2 - x1, y2 - y1) < MIN_EXTENT_PX - _ROUNDING_PX:
        mistaken = unit == "pixels" and max(x2, y2) <= 1
        raise _Fault(
            reason=BoxFaultReason.ZERO_EXTENT,
            detail=f"{x2 - x1:.2f} x {y2 - y1:.2f} px inside the picture"
            + ("; fractions where pixels belong?" if mistaken else ""),
            box_xywh=box_xywh,
        )
    return x1, y1, x2 - x1, y2 - y1


def _over(start: float, extent: float, side: int) -> float:
    """By how many pixels an extent leaves the side beyond what is tolerated, if above 0."""
    tolerance = max(TOLERANCE_PX, TOLERANCE_FRACTION * side)
    return max(-start, start + extent - side) - tolerance - 1e-6
