"""New pictures made of what the clips show, so that a network learns persons and not the few rooms of the clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array, Box
from models.train.person_coarse import backdrops
from models.train.person_coarse.clips import INPUT, SIDE, Clip
from models.train.person_coarse.cutouts import Cutout, Room, cut, empty_room

CELLS = 16  # the grid's rows and columns
CORE = 0.75  # of a box, wide and high: person; near the edge of a box nothing is known
VISIBLE = 0.35  # a person of whom a smaller share is in the picture is not judged
# Of all views: a clip's frame as it is; up to here, pasted persons in an empty room; the rest shows no person.
FRAME_SHARE, PERSON_SHARE = 0.45, 0.85

# drawn once: drawing it for each view would take longer than all the rest
NOISE = np.random.default_rng(0).standard_normal(1_000_000, np.float32)


class View(NamedTuple):
    """picture: uint8 rgb [INPUT, INPUT, 3], changed in place. people, uncertain: left, top, right, bottom in pixels."""

    picture: Array
    people: list[Array]
    uncertain: list[Array]


class Stock(NamedTuple):
    """What views are made of. rooms: without persons. cutouts: by clip; all clips are drawn equally often."""

    clips: list[Clip]
    rooms: list[Room]
    cutouts: list[list[Cutout]]
    drawn: list[Array]


def stock(clips: Sequence[Clip], random: np.random.Generator) -> Stock:
    rooms = [empty_room(clip) for clip in clips]
    cutouts = [cut(clip, room.picture) for clip, room in zip(clips, rooms)]
    drawn = [backdrops.draw(SIDE, random) for _ in range(120)]
    return Stock(list(clips), rooms, [group for group in cutouts if group], drawn)


def make(stock: Stock, random: np.random.Generator) -> tuple[Array, Array]:
    """A new view and its grid: uint8 rgb [INPUT, INPUT, 3] and float32 [CELLS, CELLS, 1]."""
    kind = random.random()
    if kind < FRAME_SHARE:
        view = _frame_view(stock, random)
    else:
        view = _room_view(stock, random)
    backdrops.furnish(view.picture, view.people + view.uncertain, random)
    for _ in range(_pasted_count(kind, random)):
        _paste_person(view, stock, random)
    return _vary_light(view.picture, random), _grid(view)


def _pasted_count(kind: float, random: np.random.Generator) -> int:
    """Persons to paste into a view."""
    if kind < FRAME_SHARE:
        return int(random.random() < 0.25)
    return int(random.choice((1, 2, 3), p=(0.6, 0.3, 0.1))) if kind < PERSON_SHARE else 0


def _frame_view(stock: Stock, random: np.random.Generator) -> View:
    clip = stock.clips[random.integers(len(stock.clips))]
    number = random.integers(len(clip.pictures))
    truth = clip.truths[number]
    return _warped(clip.pictures[number], truth.people, truth.uncertain, stock, random)


def _room_view(stock: Stock, random: np.random.Generator) -> View:
    if random.random() < 0.5:
        room = stock.rooms[random.integers(len(stock.rooms))]
        return _warped(room.picture, [], room.uncertain, stock, random)
    return _warped(stock.drawn[random.integers(len(stock.drawn))], [], [], stock, random)


def _warped(
    picture: Array, people: Sequence[Box], uncertain: Sequence[Box], stock: Stock, random: np.random.Generator
) -> View:
    """Zoomed, stretched, mirrored, tilted, shifted; what comes in at the borders is drawn."""
    zoom, stretch = np.exp(random.uniform(np.log(0.7), np.log(2.0))), np.exp(random.uniform(-0.2, 0.2))
    mirror, tilt = random.choice((-1.0, 1.0)), random.normal(0.0, 0.05)
    matrix = np.array([[mirror * zoom * stretch, tilt, 0.0], [-tilt * mirror, zoom / stretch, 0.0]]) * (INPUT / SIDE)
    reach = 0.12 + 0.25 * max(0.0, zoom - 1.0)
    matrix[:, 2] = INPUT / 2 + random.uniform(-reach, reach, 2) * INPUT - matrix[:, :2] @ [SIDE / 2, SIDE / 2]
    canvas = cv2.resize(stock.drawn[random.integers(len(stock.drawn))], (INPUT, INPUT))
    cv2.warpAffine(picture, matrix, (INPUT, INPUT), canvas, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    view = View(canvas, [], [_warped_box(box, matrix) for box in uncertain])
    for box in people:
        _add_person(view, _warped_box(box, matrix))
    return view


def _warped_box(box: Box, matrix: Array) -> Array:
    """A box of a picture of SIDE pixels in the view: the box around its warped corners."""
    corners = np.array([[x, y, 1.0 / SIDE] for x in box[::2] for y in box[1::2]]) * SIDE @ matrix.T
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _add_person(view: View, box: Array) -> None:
    """A person, or an uncertain box where little of it is left in the picture."""
    inside = box.clip(0, INPUT)
    share = np.prod(inside[2:] - inside[:2]) / max(np.prod(box[2:] - box[:2]), 1e-9)
    (view.people if share >= VISIBLE else view.uncertain).append(inside)


def _paste_person(view: View, stock: Stock, random: np.random.Generator) -> None:
    """A cut-out person stands, sits or lies at another place, in other clothes, sometimes with the feet hidden."""
    if not stock.cutouts:
        return
    group = stock.cutouts[random.integers(len(stock.cutouts))]
    pixels, cover = group[random.integers(len(group))]
    height, width = cover.shape
    matrix, size = _placement(height, width, random)
    if random.random() < 0.25:
        cover = cover.copy()
        cover[int(height * random.uniform(0.5, 0.9)) :] = 0.0
    interpolation = cv2.INTER_AREA if size < 0.5 else cv2.INTER_LINEAR
    placed = cv2.warpAffine(cover, matrix, (INPUT, INPUT), flags=interpolation)
    dressed = cv2.warpAffine(_change_clothes(pixels, random), matrix, (INPUT, INPUT), flags=interpolation)
    rows, columns = np.flatnonzero((placed > 0.5).any(axis=1)), np.flatnonzero((placed > 0.5).any(axis=0))
    if len(rows) < 6 or len(columns) < 4:
        return
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    part = slice(max(0, rows[0] - 2), rows[-1] + 3), slice(max(0, columns[0] - 2), columns[-1] + 3)
    soft = placed[part][..., None]
    view.picture[part] = view.picture[part] * (1 - soft) + dressed[part] * soft
    _mark_hidden(view, box)
    view.people.append(box)


def _placement(height: int, width: int, random: np.random.Generator) -> tuple[Array, float]:
    """From a cut-out's pixels to the view's, float [2, 3], and the scale in it."""
    size = np.exp(random.uniform(np.log(20), np.log(125))) / max(height, width)
    angle = random.normal(0.0, 0.15) if random.random() < 0.7 else random.choice((-1, 1)) * random.normal(1.5, 0.3)
    mirror, stretch = random.choice((-1.0, 1.0)), np.exp(random.uniform(-0.15, 0.15))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rotation = rotation @ np.diag([mirror * stretch, 1 / stretch])
    middle = random.uniform(0.05, 0.95, 2) * INPUT
    return np.hstack([rotation * size, (middle - rotation * size @ [width / 2, height / 2])[:, None]]), size


def _mark_hidden(view: View, box: Array) -> None:
    """A person who stands behind the new one is not judged any more."""
    for other in list(view.people):
        overlap = np.minimum(other[2:], box[2:]) - np.maximum(other[:2], box[:2])
        if overlap.min() > 0 and overlap.prod() > 0.4 * np.prod(other[2:] - other[:2]):
            view.people[:] = [person for person in view.people if person is not other]
            view.uncertain.append(other)


def _change_clothes(pixels: Array, random: np.random.Generator) -> Array:
    """Shirt and trousers get other colours and keep their folds: ten persons wear too few clothes to learn from."""
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
    """Float32 [CELLS, CELLS, 1]: 1 a person, 0 none, -1 unknown; read at the middle of each cell."""
    cells = np.zeros((CELLS, CELLS), np.float32)
    for box in [*view.uncertain, *view.people]:
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


def truth_grid(people: Sequence[Box], uncertain: Sequence[Box] = ()) -> Array:
    """The grid of a picture as it is."""
    people_px, uncertain_px = ([np.array(box) * INPUT for box in boxes] for boxes in (people, uncertain))
    return _grid(View(np.empty(0), people_px, uncertain_px))


def _vary_light(picture: Array, random: np.random.Generator) -> Array:
    """Other light and colours, another sensor; sometimes night, grey, or out of focus."""
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
