"""A small, made-up inspection set: rolled steel strip under a grazing bar light.

Four defect classes (`CLASS_NAMES`), common to rare. Every picture is drawn from its own random
stream, seeded by (seed, picture index): the first pictures of a larger set are the same bytes as
those of a smaller one. Box edges are pixel edges counted from 0: a defect that covers the columns
10 to 19 has x1=10 and x2=20.
"""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yololine.errors import UsageError
from yololine.storage.disk import disk_in_words

CLASS_NAMES = ("scratch", "dent", "rust", "crack")
UNKNOWN_CLASS_ID = 9
UNKNOWN_CLASS_NAME = "unknown_defect"
MIN_IMAGES = 20
MAX_IMAGES = 1_000_000
MIN_SIDE_PX = 64

_CLASS_SHARE = (0.34, 0.28, 0.21, 0.17)
_OBJECTS_SHARE = (0.30, 0.40, 0.30)  # chance of one, two and three defects in one picture
_BACKGROUND_EVERY = 12
_JPEG_QUALITY = 92
# Faulty pictures have random streams of their own, far from those of any good picture.
_FAULT_INDEX = 12_000_000

Field = NDArray[np.float32]  # (h, w)
Points = NDArray[np.float64]  # (..., 2), x and y in pixels
Photo = NDArray[np.uint8]  # (h, w, 3), RGB
_Label = tuple[int, tuple[float, float, float, float]]  # class id, box_xyxy in pixels
# A defect on its own small canvas: relative brightness to add to the steel, (h, w, 1 or 3), and
# the pixels (h, w) that an inspector would outline.
_Stamp = tuple[Field, NDArray[np.bool_]]


class Layout(StrEnum):
    """How the set lies on disk."""

    YOLO = "yolo"
    VOC = "voc"


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """What was written.

    `images` and `objects_per_class` count the good pictures only; every planted fault comes on
    top of them, and `faults` has one sentence for each, naming its file relative to `out`.
    """

    out: Path
    layout: str
    images: int
    objects_per_class: dict[str, int]
    faults: tuple[str, ...]


def _grain(
    rng: np.random.Generator,
    shape_hw: tuple[int, int],
    sigmas_px: Sequence[float],
    angle_rad: float = 0.0,
) -> Field:
    """Noise smoothed along and across `angle_rad` (`sigmas_px`); mean 0, standard deviation 1."""
    fy = np.fft.fftfreq(shape_hw[0])[:, None]
    fx = np.fft.rfftfreq(shape_hw[1])[None, :]
    along = (fx * math.cos(angle_rad) + fy * math.sin(angle_rad)) * sigmas_px[0]
    across = (fy * math.cos(angle_rad) - fx * math.sin(angle_rad)) * sigmas_px[1]
    smooth = np.exp(-2 * math.pi**2 * (along**2 + across**2))
    noise = np.fft.rfft2(rng.standard_normal(shape_hw, dtype=np.float32))
    field = np.fft.irfft2(noise * smooth, s=shape_hw).astype(np.float32)
    return cast(Field, (field - field.mean()) / (field.std() + 1e-6))


def _sheet(rng: np.random.Generator, shape_hw: tuple[int, int]) -> Field:
    """Brightness of a clean strip, about 0.3 to 0.75: grain, mill marks and lighting."""
    height_px, width_px = shape_hw
    scale = min(shape_hw) / 240
    angle_rad = math.radians(rng.normal(0, 1.5))  # no strip runs perfectly straight
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float32)
    u, v = x / width_px - 0.5, y / height_px - 0.5

    texture = 0.045 * _grain(rng, shape_hw, (60 * scale, 0.55), angle_rad)
    texture += 0.030 * _grain(rng, shape_hw, (14 * scale, 0.7), angle_rad)
    texture += 0.018 * _grain(rng, shape_hw, (3.5 * scale, 0.6), angle_rad)
    texture += 0.028 * _grain(rng, shape_hw, (150 * scale, 3.5 * scale), angle_rad)
    texture += 0.030 * _grain(rng, shape_hw, (0.20 * width_px, 0.12 * height_px))
    # Chatter: the mill stand shakes, which leaves faint bands across the rolling direction.
    period_px = rng.uniform(18, 40) * scale
    texture += rng.uniform(0, 0.012) * np.sin(2 * math.pi * x / period_px + rng.uniform(0, 6.28))
    # Roll marks: straight hair lines along the strip, part of a good surface.
    across_px = y * math.cos(angle_rad) - x * math.sin(angle_rad)
    for _ in range(int(rng.integers(3, 9))):
        offset_px = across_px - rng.uniform(0, height_px)
        texture += rng.normal(0, 0.05) * np.exp(-((offset_px / rng.uniform(0.5, 1.3)) ** 2))

    # A bar light above the picture: a broad bright band, a fall-off, and the lens's vignette.
    band = np.exp(-(((v - rng.uniform(-0.45, 0.2)) / rng.uniform(0.35, 0.6)) ** 2))
    lighting = 0.72 + 0.38 * band + rng.uniform(-0.22, 0.22) * u
    lighting *= 1 - rng.uniform(0.25, 0.5) * (u * u + v * v)
    return cast(Field, rng.uniform(0.46, 0.62) * lighting * (1 + texture))


def _distance(points_xy: Points, shape_hw: tuple[int, int]) -> tuple[Field, Field]:
    """Distance of every pixel to a polyline (pixels), and where along it that is (0 to 1)."""
    y, x = np.mgrid[0 : shape_hw[0], 0 : shape_hw[1]].astype(np.float32)
    best = np.full(shape_hw, np.inf, np.float32)
    along = np.zeros(shape_hw, np.float32)
    segments = len(points_xy) - 1
    for index in range(segments):
        (ax, ay), (bx, by) = points_xy[index], points_xy[index + 1]
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
        gap = np.hypot(x - ax - t * dx, y - ay - t * dy)
        nearer = gap < best
        best[nearer] = gap[nearer]
        along[nearer] = (index + t[nearer]) / segments
    return best, along


def _fit(points_xy: Points, pad_px: float) -> tuple[Points, tuple[int, int]]:
    """Shift points so that they lie `pad_px` inside a canvas; also that canvas's (h, w)."""
    low = points_xy.min(axis=0)
    width_px, height_px = np.ceil(points_xy.max(axis=0) - low + 2 * pad_px).astype(int)
    return points_xy - low + pad_px, (int(height_px), int(width_px))


def _scratch(rng: np.random.Generator, scale: float, light_xy: Points) -> _Stamp:
    """A bowed bright groove, its wall next to the lamp in shadow; it skips and fades."""
    length_px = rng.uniform(55, 130) * scale
    angle_rad = rng.choice([-1, 1]) * rng.uniform(0.4, 1.25)  # handling marks run askew
    tangent = np.array([math.cos(angle_rad), math.sin(angle_rad)])
    normal = np.array([-tangent[1], tangent[0]])
    t = np.linspace(0, 1, 20)[:, None]
    bow = rng.normal(0, 0.14) * 4 * t * (1 - t) + rng.normal(0, 0.03) * np.sin(2 * math.pi * t)
    line_xy, shape_hw = _fit(length_px * (t * tangent + bow * normal), 6 * scale + 3)

    sigma_px = rng.uniform(1.0, 1.6) * max(scale, 0.6)
    bright_px, along = _distance(line_xy, shape_hw)
    dark_px, _ = _distance(line_xy - light_xy * 1.9 * sigma_px, shape_hw)
    fade = np.clip(7 * along, 0, 1) * np.clip(4 * (1 - along), 0, 1)
    skips = 0.75 + 0.25 * np.sin(along * rng.uniform(12, 30) + rng.uniform(0, 6.28))
    press = rng.uniform(0.5, 0.85) * (0.4 + 0.6 * fade) * skips
    shade = press * np.exp(-((bright_px / sigma_px) ** 2))
    shade -= 0.5 * press * np.exp(-((dark_px / (1.1 * sigma_px)) ** 2))
    return shade[..., None], shade > 0.09


def _dent(rng: np.random.Generator, scale: float, light_xy: Points) -> _Stamp:
    """A hollow with a raised rim: its wall next to the lamp is in shadow, the far one glints."""
    radius_px = rng.uniform(11, 23) * scale
    ratio, turn_rad = rng.uniform(0.65, 1.0), rng.uniform(0, math.pi)
    side = math.ceil(3.6 * radius_px)
    y, x = (np.mgrid[0:side, 0:side] - (side - 1) / 2).astype(np.float32)
    u = x * math.cos(turn_rad) + y * math.sin(turn_rad)
    v = (y * math.cos(turn_rad) - x * math.sin(turn_rad)) / ratio
    polar = np.arctan2(v, u)
    wobble = 1 + 0.08 * np.sin(2 * polar + rng.uniform(0, 6.28))
    wobble += 0.05 * np.sin(3 * polar + rng.uniform(0, 6.28))
    r = np.hypot(u, v) / (radius_px * wobble)
    hollow = -np.exp(-(r ** rng.uniform(2.0, 2.8)) * 1.7)
    rim = 0.14 * np.exp(-(((r - 1.15) / 0.25) ** 2))
    slope_y, slope_x = np.gradient(hollow + rim)
    facing = (slope_x * light_xy[0] + slope_y * light_xy[1]) * radius_px * rng.uniform(0.36, 0.48)
    # A lit wall glints (steeper than linear); a shadowed wall can only lose its light.
    shade = np.where(facing > 0, facing * (0.35 + 1.5 * facing), 0.7 * np.tanh(1.2 * facing))
    shade += 0.08 * hollow
    return shade[..., None], np.abs(shade) > 0.10


def _rust(rng: np.random.Generator, scale: float, _light_xy: Points) -> _Stamp:
    """A mottled brown patch, dark at its core, with a paler halo; it has no lit side."""
    radius_px = rng.uniform(18, 34) * scale
    side = math.ceil(3.6 * radius_px)
    y, x = (np.mgrid[0:side, 0:side] - (side - 1) / 2).astype(np.float32)
    r = np.hypot(x, y / rng.uniform(0.55, 0.95)) / radius_px
    lobes = _grain(rng, (side, side), (0.34 * radius_px, 0.26 * radius_px))
    fray = _grain(rng, (side, side), (3.0 * scale, 1.8 * scale))  # creeps along the strip
    speck = _grain(rng, (side, side), (1.0, 0.8))
    level = np.where(r < 1.5, 0.9 - r + 0.20 * lobes + 0.12 * fray, -1)

    def rise(low: float, high: float) -> Field:
        t = np.clip((level - low) / (high - low), 0, 1)
        return cast(Field, t * t * (3 - 2 * t))

    body = rise(-0.02, 0.45)
    cover = (0.74 * body * (1 + 0.08 * speck) + 0.16 * rise(-0.45, 0.15))[..., None]
    depth = np.clip(0.45 + 0.22 * fray + 0.16 * speck + 0.6 * (level - 0.4), 0, 1)[..., None]
    # Reflectance relative to bare steel, from fresh orange rust to old dark rust.
    tone_rgb = np.array([1.06, 0.77, 0.55]) * (1 - depth) + np.array([0.48, 0.30, 0.22]) * depth
    return cover * (tone_rgb - 1), body > 0.3


def _crack(rng: np.random.Generator, scale: float, light_xy: Points) -> _Stamp:
    """A dark, jagged, branching split that thins out, with one lip catching the light."""
    step_px = rng.uniform(4.5, 8.5) * scale
    start_rad = rng.uniform(0, 2 * math.pi)

    def walk(origin_xy: Points, heading_rad: float, steps: int) -> Points:
        headings = heading_rad + rng.normal(0, 0.5, steps)
        lengths = step_px * rng.uniform(0.6, 1.4, steps)
        moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * lengths[:, None]
        return origin_xy + np.vstack([np.zeros((1, 2)), np.cumsum(moves, axis=0)])

    lines_xy = [walk(np.zeros(2), start_rad, int(rng.integers(9, 15)))]
    for node in rng.choice(np.arange(2, len(lines_xy[0]) - 2), rng.integers(2, 4), replace=False):
        turn_rad = rng.choice([-1, 1]) * rng.uniform(0.6, 1.2)
        lines_xy.append(walk(lines_xy[0][node], start_rad + turn_rad, int(rng.integers(3, 7))))
    fitted_xy, shape_hw = _fit(np.vstack(lines_xy), 5 * scale + 3)
    ends = np.cumsum([len(line_xy) for line_xy in lines_xy])[:-1]

    dark, lip = np.zeros(shape_hw, np.float32), np.zeros(shape_hw, np.float32)
    sigma_px = rng.uniform(1.2, 1.9) * max(scale, 0.6)
    for number, line_xy in enumerate(np.split(fitted_xy, ends)):
        strength = 0.75 if number else 1.0  # a branch is thinner and paler than the trunk
        gap_px, along = _distance(line_xy, shape_hw)
        pinch = 0.85 + 0.25 * np.sin(along * rng.uniform(20, 40) + rng.uniform(0, 6.28))
        width_px = sigma_px * strength * pinch * (1 - 0.5 * along)
        depth = strength * (1 - 0.45 * along**2)
        dark = np.maximum(dark, depth * np.exp(-((gap_px / width_px) ** 2)))
        lip_px, along = _distance(line_xy + light_xy * 1.8 * sigma_px, shape_hw)
        lip = np.maximum(lip, (1 - along) * np.exp(-((lip_px / sigma_px) ** 2)))
    shade = -rng.uniform(0.68, 0.85) * dark + 0.16 * lip * (1 - dark)
    return shade[..., None], dark > 0.2


# In the order of CLASS_NAMES. Each takes the picture's shorter side over 240 pixels, and the unit
# vector in which the light travels.
_DRAW = (_scratch, _dent, _rust, _crack)


def _scene(
    seed: int, index: int, size_wh: tuple[int, int], *, defects: bool = True
) -> tuple[Photo, tuple[_Label, ...]]:
    """Photograph strip `index`; without `defects`, the same strip before anything hit it."""
    rng = np.random.default_rng([seed, index])
    (width_px, height_px), shape_hw = size_wh, (size_wh[1], size_wh[0])
    steel = _sheet(rng, shape_hw)
    tint_rgb = np.array([0.985, 1.0, 1.025]) + rng.normal(0, 0.008, 3)
    light_rad = math.radians(rng.normal(90, 12))  # down the picture
    light_xy = np.array([math.cos(light_rad), math.sin(light_rad)])
    noise = rng.standard_normal((*shape_hw, 3), dtype=np.float32)

    shade, taken, gap = np.zeros((*shape_hw, 3)), np.zeros(shape_hw, bool), 4
    labels: list[_Label] = []
    background = index % _BACKGROUND_EVERY == _BACKGROUND_EVERY - 1
    wanted = 0 if background or not defects else 1 + int(rng.choice(3, p=_OBJECTS_SHARE))
    for class_id in rng.choice(len(CLASS_NAMES), wanted, p=_CLASS_SHARE):
        stamp, outlined = _DRAW[class_id](rng, min(shape_hw) / 240, light_xy)
        h, w = outlined.shape
        rows, columns = (np.flatnonzero(outlined.any(axis=axis)) for axis in (1, 0))
        # A defect lies whole in the picture and clear of the others, or it is left out.
        for _ in range(20 if w <= width_px and h <= height_px else 0):
            left, top = rng.integers(0, width_px - w + 1), rng.integers(0, height_px - h + 1)
            x1, x2 = int(left + columns[0]), int(left + columns[-1]) + 1
            y1, y2 = int(top + rows[0]), int(top + rows[-1]) + 1
            if not taken[y1:y2, x1:x2].any():
                taken[max(y1 - gap, 0) : y2 + gap, max(x1 - gap, 0) : x2 + gap] = True
                shade[top : top + h, left : left + w] += stamp
                labels.append((int(class_id), (x1, y1, x2, y2)))
                break

    rgb = steel[..., None] * (1 + shade) * tint_rgb
    # Sensor: shot noise grows with the root of the light; highlights roll off, not clip.
    rgb += 0.016 * np.sqrt(np.clip(rgb, 0.02, 1)) * noise
    rgb = np.where(rgb > 0.8, 0.8 + 0.2 * np.tanh((rgb - 0.8) / 0.2), rgb)
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8), tuple(labels)


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Puts pictures and labels where a layout wants them; `root` is the set's folder."""

    root: Path
    layout: Layout
    size_wh: tuple[int, int]

    def image_file(self, stem: str) -> str:
        return f"{'images' if self.layout is Layout.YOLO else 'JPEGImages'}/{stem}.jpg"

    def label_file(self, stem: str) -> str:
        return f"labels/{stem}.txt" if self.layout is Layout.YOLO else f"Annotations/{stem}.xml"

    def start(self) -> None:
        for file in (self.image_file("x"), self.label_file("x")):
            (self.root / file).parent.mkdir()
        if self.layout is Layout.YOLO:
            names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASS_NAMES))
            # No val key: the set is not split yet, and one folder under two keys would leak.
            self._write("data.yaml", f"path: .\ntrain: images\nnames:\n{names}")
        else:
            self._write("classes.txt", "".join(f"{name}\n" for name in CLASS_NAMES))

    def picture(self, stem: str, photo_rgb: Photo) -> None:
        Image.fromarray(photo_rgb).save(self.root / self.image_file(stem), quality=_JPEG_QUALITY)

    def labels(self, stem: str, labels: Sequence[_Label]) -> None:
        row = self._yolo_row if self.layout is Layout.YOLO else self._voc_object
        text = "".join(row(label) for label in labels)
        if self.layout is Layout.VOC:
            w, h = self.size_wh
            size = f"<width>{w}</width><height>{h}</height><depth>3</depth>"
            head = f"  <filename>{stem}.jpg</filename>\n  <size>{size}</size>\n"
            text = f"<annotation>\n{head}{text}</annotation>\n"
        self._write(self.label_file(stem), text)

    def _write(self, file: str, text: str) -> None:
        (self.root / file).write_text(text, encoding="utf-8", newline="\n")

    def _yolo_row(self, label: _Label) -> str:
        (class_id, (x1, y1, x2, y2)), (width_px, height_px) = label, self.size_wh
        cx, cy = (x1 + x2) / 2 / width_px, (y1 + y2) / 2 / height_px
        w, h = (x2 - x1) / width_px, (y2 - y1) / height_px
        return f"{class_id} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n"

    def _voc_object(self, label: _Label) -> str:
        name = UNKNOWN_CLASS_NAME if label[0] == UNKNOWN_CLASS_ID else CLASS_NAMES[label[0]]
        edges = zip(("xmin", "ymin", "xmax", "ymax"), label[1], strict=True)
        box = "".join(f"<{key}>{value:.0f}</{key}>" for key, value in edges)
        return f"  <object>\n    <name>{name}</name>\n    <bndbox>{box}</bndbox>\n  </object>\n"


def _good_stem(index: int) -> str:
    return f"line3_{index + 1:06d}"


def _plant_faults(writer: _Writer, seed: int) -> tuple[str, ...]:
    """Write the nine faults, all from camera line4; a sentence for each."""
    w, h = writer.size_wh
    bad_labels: dict[int, _Label] = {
        4: (UNKNOWN_CLASS_ID, (w // 4, h // 4, w // 2, h // 2)),
        5: (0, (w + w // 8, h // 4, w + w // 4, h // 2)),
        6: (1, (w // 3, h // 3, w // 3, h // 2)),
        7: (2, (math.nan, h // 4, w // 2, h // 2)),
    }
    stems = [f"line4_{number:06d}" for number in range(10)]  # from 1: stems[0] stays unused
    for number, stem in enumerate(stems[1:], 1):
        # Number 3 is the first good picture once more: the same stream gives the same bytes.
        index = 0 if number == 3 else _FAULT_INDEX + number
        photo_rgb, labels = _scene(seed, index, writer.size_wh)
        if number in bad_labels:
            labels = (*labels, bad_labels[number])
        if number != 9:
            writer.picture(stem, photo_rgb)
        if number != 8:
            writer.labels(stem, labels)
    image = [writer.image_file(stem) for stem in stems]
    label = [writer.label_file(stem) for stem in stems]
    garbage, cut = writer.root / image[1], writer.root / image[2]
    garbage.write_bytes(np.random.default_rng([seed, _FAULT_INDEX]).bytes(4096))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 5])
    return (
        f"{image[1]} is not an image: its bytes are random.",
        f"{image[2]} is cut off after two fifths of its bytes.",
        f"{image[3]} has the same bytes as {writer.image_file(_good_stem(0))}.",
        f"{label[4]} has a class that is not listed.",
        f"{label[5]} has a box outside of its image.",
        f"{label[6]} has a box of zero area.",
        f"{label[7]} has a box with an edge that is not a number.",
        f"{image[8]} has no label file.",
        f"{label[9]} has no image.",
    )


def _check(out: Path, layout: str, images: int, size_wh: tuple[int, int], seed: int) -> None:
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    layouts, side = " or ".join(Layout), f"at least {MIN_SIDE_PX} pixels for each side"
    for broken, value, rule, remedy in (
        (layout not in tuple(Layout), f"layout {layout!r}", "there is no such layout", layouts),
        (images < MIN_IMAGES, f"images {images}", "too few to split", f"{MIN_IMAGES} or more"),
        (images > MAX_IMAGES, f"images {images}", "too many", f"{MAX_IMAGES} or fewer"),
        (min(size_wh) < MIN_SIDE_PX, "image size {}x{}".format(*size_wh), "too small", side),
        (seed < 0, f"seed {seed}", "a seed is not negative", "0 or more"),
        (taken, str(out), "the output is not an empty folder", "a new or an empty folder"),
    ):
        if broken:
            raise UsageError(value=value, rule=rule, remedy=f"use {remedy}")


def generate_sample(
    out: Path,
    *,
    layout: str = "yolo",
    images: int = 240,
    image_size_wh: tuple[int, int] = (320, 240),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SampleReport:
    """Write `images` good pictures with labels, and nine faults on top of them, to `out`.

    Good pictures are `line3_*`, one in twelve without a defect; the faults are `line4_*`. The set
    appears in `out` whole or not at all.

    Args:
        out: A folder that does not exist yet, or an empty one.
        layout: "yolo": data.yaml, images/, labels/ (class cx cy w h, 0 to 1). "voc": classes.txt,
            JPEGImages/, Annotations/ (pixel edges from 0: xmax - xmin is the width).
        images: Good pictures, 20 to a million.
        image_size_wh: Pixels, each side 64 or more.
        seed: 0 or more. The same seed writes the same bytes.
        progress: Called with (pictures done, pictures wanted).

    Raises:
        UsageError: An argument is outside of these ranges, or `out` is not empty.
        StoreError: `out` cannot be written.
    """
    with disk_in_words(out):
        _check(out, layout, images, image_size_wh, seed)
        # An empty folder may be a mount or somebody's working folder: fill it, never replace it.
        existed = out.is_dir()
        nearby = out if existed else out.parent
        nearby.mkdir(parents=True, exist_ok=True)
        counts = dict.fromkeys(CLASS_NAMES, 0)
        with tempfile.TemporaryDirectory(prefix=".sample-", dir=nearby) as staging:
            root = Path(staging) / "set"
            root.mkdir()
            writer = _Writer(root=root, layout=Layout(layout), size_wh=image_size_wh)
            writer.start()
            for index in range(images):
                photo_rgb, labels = _scene(seed, index, image_size_wh)
                writer.picture(_good_stem(index), photo_rgb)
                writer.labels(_good_stem(index), labels)
                for class_id, _ in labels:
                    counts[CLASS_NAMES[class_id]] += 1
                if progress is not None:
                    progress(index + 1, images)
            faults = _plant_faults(writer, seed)
            if existed:
                for child in sorted(root.iterdir()):
                    child.rename(out / child.name)
            else:
                root.rename(out)
    return SampleReport(
        out=out, layout=writer.layout.value, images=images, objects_per_class=counts, faults=faults
    )
