"""Drawn pictures with things that the network knows, for golden outputs: no photograph goes into the package."""

from __future__ import annotations

import cv2
import numpy as np

from agent.data import Array

RED, WHITE, BLACK, GREY, GREEN, SKY = (
    (40, 30, 200),
    (250, 250, 250),
    (15, 15, 15),
    (90, 90, 90),
    (60, 140, 60),
    (230, 200, 160),
)


def pictures(side: int) -> Array:
    """uint8 [2, side, side, 3] in BGR: a stop sign and a ball; a clock."""
    drawn = np.stack([_road(), _wall()])
    return np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) for each in drawn])


def _road() -> Array:
    picture = np.full((416, 416, 3), SKY, np.uint8)
    cv2.rectangle(picture, (0, 300), (416, 416), GREEN, -1)
    cv2.rectangle(picture, (143, 200), (151, 330), GREY, -1)
    for radius, colour in ((82, WHITE), (76, RED)):
        angles = np.pi / 8 + np.arange(8) * np.pi / 4
        corners = np.stack([147 + radius * np.cos(angles), 130 + radius * np.sin(angles)], axis=1)
        cv2.fillPoly(picture, [np.rint(corners).astype(np.int32)], colour, cv2.LINE_AA)
    cv2.putText(picture, "STOP", (87, 147), cv2.FONT_HERSHEY_SIMPLEX, 1.55, WHITE, 6, cv2.LINE_AA)
    cv2.circle(picture, (320, 350), 32, WHITE, -1, cv2.LINE_AA)
    for angle in np.arange(5) * 2 * np.pi / 5:
        cv2.circle(picture, (int(320 + 23 * np.cos(angle)), int(350 + 23 * np.sin(angle))), 7, BLACK, -1, cv2.LINE_AA)
    cv2.circle(picture, (320, 350), 8, BLACK, -1, cv2.LINE_AA)
    return picture


def _wall() -> Array:
    picture = np.full((416, 416, 3), (190, 210, 215), np.uint8)
    cv2.circle(picture, (208, 190), 132, BLACK, -1, cv2.LINE_AA)
    cv2.circle(picture, (208, 190), 118, WHITE, -1, cv2.LINE_AA)
    for hour in range(1, 13):
        angle = hour * np.pi / 6
        at = int(208 + 96 * np.sin(angle)) - 9 * len(str(hour)), int(190 - 96 * np.cos(angle)) + 10
        cv2.putText(picture, str(hour), at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, BLACK, 2, cv2.LINE_AA)
    cv2.line(picture, (208, 190), (150, 150), BLACK, 7, cv2.LINE_AA)
    cv2.line(picture, (208, 190), (255, 110), BLACK, 5, cv2.LINE_AA)
    return picture
