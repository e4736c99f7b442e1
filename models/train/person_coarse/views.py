"""Pictures made anew from what the clips show, so that a network learns persons and not the few rooms that it was shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array, Box
from models.train.person_coarse import backdrops
from models.train.person_coarse.clips import INPUT, SIDE, Clip
from models.train.person_coarse.cutouts import Cutout, Room, cut, empty

CELLS = 16  # the grid's rows and columns
CORE = 0.75  # of a box, wide and high: person; at the edge of a box nobody knows
VISIBLE = 0.35  # a person of whom less is in the picture is not judged
FRAME, PASTED = (
    0.45,
    0.85,
)  # of all views: a clip's frame as it is; up to here persons put elsewhere; the rest is without any

NOISE = np.random.default_rng(0).standard_normal(
    1_000_000, np.float32
)  # drawn once: that takes longer than all the rest


class View(NamedTuple):
    """picture: uint8 rgb [INPUT, INPUT, 3], worked on in place. people, doubts: left, top, right, bottom in pixels."""

    picture: Array
    people: list[Array]
    doubts: list[Array]


class Stock(NamedTuple):
    """What views are made of. rooms: without persons; cutouts: by scene or clip, so that few persons are not too few."""

    clips: list[Clip]
    rooms: list[Room]
    cutouts: list[list[Cutout]]
    drawn: list[Array]


def stock(clips: Sequence[Clip], random: np.random.Generator) -> Stock:
    rooms = [empty(clip) for clip in clips]
    cutouts = [cut(clip, room.picture) for clip, room in zip(clips, rooms)]
    drawn = [backdrops.draw(SIDE, random) for _ in range(120)]
    return Stock(list(clips), rooms, [each for each in cutouts if each], drawn)


def make(stock: Stock, random: np.random.Generator) -> tuple[Array, Array]:
    """A new view and its grid: uint8 rgb [INPUT, INPUT, 3] and float32 [CELLS, CELLS, 1]."""
    kind = random.random()
    if kind < FRAME:
        view = _of_frame(stock, random)
    else:
        view = _of_room(stock, random)
    backdrops.furnish(view.picture, view.people + view.doubts, random)
    for _ in range(_how_many(kind, random)):
        _paste(view, stock, random)
    return _recolour(view.picture, random), _grid(view)


def _how_many(kind: float, random: np.random.Generator) -> int:
    """Persons to put into a view."""
    if kind < FRAME:
        return int(random.random() < 0.25)
    return int(random.choice((1, 2, 3), p=(0.6, 0.3, 0.1))) if kind < PASTED else 0


def _of_frame(stock: Stock, random: np.random.Generator) -> View:
    clip = stock.clips[random.integers(len(stock.clips))]
    number = random.integers(len(clip.pictures))
    truth = clip.truths[number]
    return _moved(clip.pictures[number], truth.people, truth.doubts, stock, random)


def _of_room(stock: Stock, random: np.random.Generator) -> View:
    if random.random() < 0.5:
        room = stock.rooms[random.integers(len(stock.rooms))]
        return _moved(room.picture, [], room.doubts, stock, random)
    return _moved(stock.drawn[random.integers(len(stock.drawn))], [], [], stock, random)


def _moved(
    picture: Array, people: Sequence[Box], doubts: Sequence[Box], stock: Stock, random: np.random.Generator
) -> View:
    """Zoomed, stretched, mirrored, tilted, shifted; what comes in at the borders is drawn."""
    zoom, stretch = np.exp(random.uniform(np.log(0.7), np.log(2.0))), np.exp(random.uniform(-0.2, 0.2))
    mirror, tilt = random.choice((-1.0, 1.0)), random.normal(0.0, 0.05)
    way = np.array([[mirror * zoom * stretch, tilt, 0.0], [-tilt * mirror, zoom / stretch, 0.0]]) * (INPUT / SIDE)
    reach = 0.12 + 0.25 * max(0.0, zoom - 1.0)
    way[:, 2] = INPUT / 2 + random.uniform(-reach, reach, 2) * INPUT - way[:, :2] @ [SIDE / 2, SIDE / 2]
    canvas = cv2.resize(stock.drawn[random.integers(len(stock.drawn))], (INPUT, INPUT))
    cv2.warpAffine(picture, way, (INPUT, INPUT), canvas, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    view = View(canvas, [], [_carried(box, way) for box in doubts])
    for box in people:
        _add(view, _carried(box, way))
    return view


def _carried(box: Box, way: Array) -> Array:
    """Where a box of a picture of SIDE pixels goes."""
    corners = np.array([[x, y, 1.0 / SIDE] for x in box[::2] for y in box[1::2]]) * SIDE @ way.T
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _add(view: View, box: Array) -> None:
    """A person, or a doubt where little of it is left in the picture."""
    inside = box.clip(0, INPUT)
    share = np.prod(inside[2:] - inside[:2]) / max(np.prod(box[2:] - box[:2]), 1e-9)
    (view.people if share >= VISIBLE else view.doubts).append(inside)


def _paste(view: View, stock: Stock, random: np.random.Generator) -> None:
    """A cut-out person stands, sits or lies somewhere else, in other clothes, with the feet hidden at times."""
    if not stock.cutouts:
        return
    group = stock.cutouts[random.integers(len(stock.cutouts))]
    pixels, cover = group[random.integers(len(group))]
    height, width = cover.shape
    size = np.exp(random.uniform(np.log(20), np.log(125))) / max(height, width)
    angle = random.normal(0.0, 0.15) if random.random() < 0.7 else random.choice((-1, 1)) * random.normal(1.5, 0.3)
    mirror, stretch = random.choice((-1.0, 1.0)), np.exp(random.uniform(-0.15, 0.15))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([mirror * stretch, 1 / stretch])
    middle = random.uniform(0.05, 0.95, 2) * INPUT
    way = np.hstack([turn * size, (middle - turn * size @ [width / 2, height / 2])[:, None]])
    if random.random() < 0.25:
        cover = cover.copy()
        cover[int(height * random.uniform(0.5, 0.9)) :] = 0.0
    flags = {"flags": cv2.INTER_AREA if size < 0.5 else cv2.INTER_LINEAR}
    there = cv2.warpAffine(cover, way, (INPUT, INPUT), **flags)
    worn = cv2.warpAffine(_dressed(pixels, random), way, (INPUT, INPUT), **flags)
    rows, columns = np.flatnonzero((there > 0.5).any(axis=1)), np.flatnonzero((there > 0.5).any(axis=0))
    if len(rows) < 6 or len(columns) < 4:
        return
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    part = slice(max(0, rows[0] - 2), rows[-1] + 3), slice(max(0, columns[0] - 2), columns[-1] + 3)
    soft = there[part][..., None]
    view.picture[part] = view.picture[part] * (1 - soft) + worn[part] * soft
    _hide(view, box)
    view.people.append(box)


def _hide(view: View, box: Array) -> None:
    """Whoever stands behind somebody else is not judged any more."""
    for other in list(view.people):
        common = np.minimum(other[2:], box[2:]) - np.maximum(other[:2], box[:2])
        if common.min() > 0 and common.prod() > 0.4 * np.prod(other[2:] - other[:2]):
            view.people[:] = [each for each in view.people if each is not other]
            view.doubts.append(other)


def _dressed(pixels: Array, random: np.random.Generator) -> Array:
    """Shirt and trousers take other colours and keep their folds: ten persons wear too few clothes to learn from."""
    values = pixels.astype(np.float32)
    if random.random() < 0.6:
        height = len(values)
        waist = int(height * random.uniform(0.4, 0.65))
        for part in (values[int(height * 0.18) : waist], values[waist:]):
            if random.random() < 0.7:
                part[...] = part.mean(axis=2, keepdims=True) * random.uniform(0.6, 2.5) * random.uniform(0.3, 1.6, 3)
                part += random.uniform(0, 60) * (random.random() < 0.5)
    return np.asarray(np.clip(values * random.uniform(0.7, 1.3), 0, 255).astype(np.uint8))


def _grid(view: View) -> Array:
    """float32 [CELLS, CELLS, 1]: 1 a person, 0 none, -1 not known; read at the middle of each cell."""
    cells = np.zeros((CELLS, CELLS), np.float32)
    for box in [*view.doubts, *view.people]:
        _fill(cells, box, -1.0)
    for box in view.people:
        _fill(cells, _core(box), 1.0)
        x, y = ((box[:2] + box[2:]) / 2 / INPUT * CELLS).astype(int).clip(0, CELLS - 1)
        cells[y, x] = 1.0
    return cells[..., None]


def _core(box: Array) -> Array:
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * CORE
    return np.concatenate([middle - half, middle + half])


def _fill(cells: Array, box: Array, value: float) -> None:
    """The cells whose middle is in the box."""
    left, top, right, bottom = np.ceil(box / INPUT * CELLS - 0.5).astype(int).clip(0, CELLS)
    cells[top:bottom, left:right] = value


def mapped(people: Sequence[Box], doubts: Sequence[Box] = ()) -> Array:
    """The grid of a picture as it is."""
    return _grid(
        View(np.empty(0), [np.array(box) * INPUT for box in people], [np.array(box) * INPUT for box in doubts])
    )


def _recolour(picture: Array, random: np.random.Generator) -> Array:
    """Other light, other walls and clothes, another sensor; at times night, grey, or out of focus."""
    if random.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 1.3))
    if random.random() < 0.2:
        picture = picture[..., random.permutation(3)]
    if random.random() < 0.2:
        picture = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    night = random.random() < 0.1
    gain = random.uniform(0.75, 1.25, (1, 3)) * (random.uniform(0.25, 0.6) if night else 1.0)
    curve = np.linspace(0, 1, 256)[:, None] ** random.uniform(0.6, 1.6) * gain + random.uniform(-0.1, 0.1) * (not night)
    lit = cv2.LUT(np.ascontiguousarray(picture), (curve.clip(0, 1) * 255).astype(np.uint8)[None])
    start = random.integers(len(NOISE) - picture.size)
    grain = NOISE[start : start + picture.size].reshape(picture.shape) * np.float32(
        random.uniform(0, 12 if night else 7)
    )
    return np.asarray((lit + grain).clip(0, 255).astype(np.uint8))
