"""Persons without the room, and rooms without the person: the cameras stand still, so a median over time tells them apart."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from agent.data import Array, Box
from models.train.person_coarse.clips import SIDE, Clip

MARGIN = 0.06  # of the picture, around a box: arms reach beyond it
PERSON, NOT = 28, 10  # grey levels of difference from the empty room
FILLED = 0.2, 0.9  # share of a box that a person takes
MOST = 40  # of one clip
OFTEN = 0.4  # somebody who is in a place in more frames than this may be in the median


class Room(NamedTuple):
    """picture: uint8 rgb [SIDE, SIDE, 3] without persons. doubts: where somebody may be left over."""

    picture: Array
    doubts: list[Box]


class Cutout(NamedTuple):
    """pixels: uint8 rgb [h, w, 3]; cover: float32 [h, w], 1 where the person is, soft at the outline. A tight crop."""

    pixels: Array
    cover: Array


def empty(clip: Clip) -> Room:
    """The clip's view without persons; where one always is, painted over from around."""
    stack = np.ma.masked_array(clip.pictures, np.zeros(clip.pictures.shape, bool))
    often = np.zeros((SIDE, SIDE))
    for number, truth in enumerate(clip.truths):
        for box in [*truth.people, *truth.doubts]:
            stack.mask[number][_wide(box, MARGIN / 2)] = True
        for box in truth.people:
            often[_wide(box, MARGIN)] += 1 / len(clip.truths)
    view = np.ma.median(stack, axis=0)
    never = np.ma.getmaskarray(view)[..., 0].astype(np.uint8)
    painted = cv2.inpaint(view.filled(128).astype(np.uint8), never, 5, cv2.INPAINT_TELEA)
    return Room(painted, _lasting(often > OFTEN))


def _lasting(often: Array) -> list[Box]:
    """The box around bool [SIDE, SIDE]: what the median may have kept of somebody who stayed in place."""
    rows, columns = np.flatnonzero(often.any(axis=1)), np.flatnonzero(often.any(axis=0))
    if not len(rows):
        return []
    return [Box(*(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / SIDE).tolist())]


def _wide(box: Box, margin: float) -> tuple[slice, slice]:
    """Rows and columns of a box in a picture of SIDE pixels."""
    left, top, right, bottom = (np.array(box) + [-margin, -margin, margin, margin]).clip(0, 1) * SIDE
    return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


def cut(clip: Clip, room: Array) -> list[Cutout]:
    """The clip's persons, from evenly many frames."""
    alone = [number for number, truth in enumerate(clip.truths) if len(truth.people) == 1]
    picked = [alone[round(at)] for at in np.linspace(0, len(alone) - 1, min(MOST, len(alone)))] if alone else []
    found = [_outline(clip.pictures[number], room, clip.truths[number].people[0]) for number in picked]
    return [each for each in found if each is not None]


def _outline(picture: Array, room: Array, box: Box) -> Cutout | None:
    """GrabCut (Rother et al. 2004) from what differs from the empty room; None where no plausible outline comes of it."""
    part = _wide(box, MARGIN)
    pixels, behind = np.ascontiguousarray(picture[part]), room[part]
    differs = cv2.GaussianBlur(cv2.absdiff(pixels, behind).max(axis=2), (0, 0), 1.5)
    inner = np.zeros((SIDE, SIDE), bool)
    inner[_wide(box, MARGIN / 3)] = True
    mask = np.where(differs > PERSON, cv2.GC_PR_FGD, np.where(differs < NOT, cv2.GC_BGD, cv2.GC_PR_BGD)).astype(
        np.uint8
    )
    mask[~inner[part]] = cv2.GC_BGD
    if (mask == cv2.GC_PR_FGD).mean() < 0.05:
        return None
    cv2.setRNGSeed(0)
    cv2.grabCut(pixels, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return _trimmed(pixels, ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8))


def _trimmed(pixels: Array, mask: Array) -> Cutout | None:
    """The largest piece of the mask, closed and softened, cropped to itself."""
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, marks, shapes, _ = cv2.connectedComponentsWithStats(mask)
    if len(shapes) < 2:
        return None
    best = 1 + int(shapes[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height, size = shapes[best].tolist()
    if not FILLED[0] <= size / (width * height) <= FILLED[1] or min(width, height) < 8 or size < 150:
        return None
    soft = cv2.GaussianBlur((marks == best).astype(np.float32), (0, 0), 0.8)
    part = slice(y, y + height), slice(x, x + width)
    return Cutout(pixels[part].copy(), soft[part].copy())
