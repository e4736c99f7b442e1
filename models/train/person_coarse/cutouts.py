"""Persons without the room, and rooms without persons: the cameras stand still, a median over time separates them."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np

from agent.data import Array, Box
from models.train.person_coarse.clips import SIDE, Clip

MARGIN = 0.06  # of the picture, around a box: arms reach beyond it
FOREGROUND, BACKGROUND = 28, 10  # grey levels of difference from the empty room: a person from, none below
FILLED = 0.2, 0.9  # share of a box that a person fills
MAX_CUTOUTS = 40  # of one clip
LASTING = 0.4  # a person who is in a place in more frames than this may be in the median

masked_arrays: Any = np.ma  # numpy's types cover it in part


class Room(NamedTuple):
    """picture: uint8 rgb [SIDE, SIDE, 3] without persons. uncertain: boxes in which a person may be left over."""

    picture: Array
    uncertain: list[Box]


class Cutout(NamedTuple):
    """pixels: uint8 rgb [h, w, 3]; cover: float32 [h, w], 1 where the person is, soft at the outline. A tight crop."""

    pixels: Array
    cover: Array


def empty_room(clip: Clip) -> Room:
    """The clip's view without persons; where one always is, painted over from around."""
    stack = masked_arrays.masked_array(clip.pictures, np.zeros(clip.pictures.shape, bool))
    presence = np.zeros((SIDE, SIDE))
    for number, truth in enumerate(clip.truths):
        for box in [*truth.people, *truth.uncertain]:
            stack.mask[number][_part(box, MARGIN / 2)] = True
        for box in truth.people:
            presence[_part(box, MARGIN)] += 1 / len(clip.truths)
    view = masked_arrays.median(stack, axis=0)
    hidden = masked_arrays.getmaskarray(view)[..., 0].astype(np.uint8)
    painted = cv2.inpaint(view.filled(128).astype(np.uint8), hidden, 5, cv2.INPAINT_TELEA)
    return Room(painted, _box_around(presence > LASTING))


def _box_around(mask: Array) -> list[Box]:
    """The box around the true pixels of bool [SIDE, SIDE]; none where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    return [Box(*(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / SIDE).tolist())]


def _part(box: Box, margin: float) -> tuple[slice, slice]:
    """Rows and columns of a box in a picture of SIDE pixels."""
    left, top, right, bottom = (np.array(box) + [-margin, -margin, margin, margin]).clip(0, 1) * SIDE
    return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


def cut(clip: Clip, room: Array) -> list[Cutout]:
    """The clip's persons, from evenly spaced frames that have one."""
    single = [number for number, truth in enumerate(clip.truths) if len(truth.people) == 1]
    picked = [single[round(at)] for at in np.linspace(0, len(single) - 1, min(MAX_CUTOUTS, len(single)))]
    cutouts = [_outline(clip.pictures[number], room, clip.truths[number].people[0]) for number in picked]
    return [cutout for cutout in cutouts if cutout is not None]


def _outline(picture: Array, room: Array, box: Box) -> Cutout | None:
    """GrabCut (Rother et al. 2004) from what differs from the empty room; None where it gives no plausible outline."""
    part = _part(box, MARGIN)
    pixels, behind = np.ascontiguousarray(picture[part]), room[part]
    difference = cv2.GaussianBlur(cv2.absdiff(pixels, behind).max(axis=2), (0, 0), 1.5)
    inner = np.zeros((SIDE, SIDE), bool)
    inner[_part(box, MARGIN / 3)] = True
    rest = np.where(difference < BACKGROUND, cv2.GC_BGD, cv2.GC_PR_BGD)
    mask = np.where(difference > FOREGROUND, cv2.GC_PR_FGD, rest).astype(np.uint8)
    mask[~inner[part]] = cv2.GC_BGD
    if (mask == cv2.GC_PR_FGD).mean() < 0.05:
        return None
    cv2.setRNGSeed(0)
    rectangle: Any = None  # not read with a mask, though OpenCV's types ask for it
    cv2.grabCut(pixels, mask, rectangle, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return _trimmed(pixels, ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8))


def _trimmed(pixels: Array, mask: Array) -> Cutout | None:
    """The largest piece of the mask, closed and softened, cropped to itself."""
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, pieces, shapes, _ = cv2.connectedComponentsWithStats(mask)
    if len(shapes) < 2:
        return None
    largest = 1 + int(shapes[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height, size = shapes[largest].tolist()
    if not FILLED[0] <= size / (width * height) <= FILLED[1] or min(width, height) < 8 or size < 150:
        return None
    soft = cv2.GaussianBlur((pieces == largest).astype(np.float32), (0, 0), 0.8)
    part = slice(y, y + height), slice(x, x + width)
    return Cutout(pixels[part].copy(), soft[part].copy())
