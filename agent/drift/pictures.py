"""What of a picture changes when the light, the lens or the place of a camera does."""

from __future__ import annotations

from math import log, sqrt

import cv2
import numpy as np

from agent.data import Array
from agent.drift.detector import Floor
from agent.tapes.live_reader import RawPicture

TO_BGR = {"rgb": cv2.COLOR_RGB2BGR, "yuyv": cv2.COLOR_YUV2BGR_YUYV}
TO_GREY = {"bgr": cv2.COLOR_BGR2GRAY, "rgb": cv2.COLOR_RGB2GRAY, "yuyv": cv2.COLOR_YUV2GRAY_YUYV}
VIEW = (32, 24)  # columns and rows in which the scene is compared: a person passing changes few of them
# Grey levels of 255; logarithms; a correlation. Less is no fault of a camera: a screw that turned, the hour of the day.
FLOORS = {"brightness": Floor(3.0), "contrast": Floor(2.0), "sharpness": Floor(0.1), "view": Floor(0.01)}

cv2.setNumThreads(1)  # beside lanes


def grey(picture: RawPicture) -> Array:
    """uint8 [height, width]."""
    values = picture.values
    code = TO_GREY.get(picture.pixels)
    return values if code is None or values.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(values), code)


def bgr(picture: RawPicture) -> Array:
    """uint8 [height, width, 3]."""
    values = picture.values
    if values.ndim == 2:
        return cv2.cvtColor(values, cv2.COLOR_GRAY2BGR)
    code = TO_BGR.get(picture.pixels)
    return values if code is None else cv2.cvtColor(np.ascontiguousarray(values), code)


def figures(values: Array) -> dict[str, float]:
    """brightness: mean of the grey levels. contrast: their standard deviation. sharpness: of the whole picture.

    Sharpness is the logarithm of the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in
    brightfield microscopy", ICPR 2000): a lens out of focus removes the high frequencies that it sums. A logarithm,
    so that half of it is as far as twice of it.

    values: uint8 [height, width].
    """
    mean, deviation = (float(each[0, 0]) for each in cv2.meanStdDev(values))
    _, edges = cv2.meanStdDev(cv2.Laplacian(values, cv2.CV_16S))
    return {"brightness": mean, "contrast": deviation, "sharpness": log(float(edges[0, 0]) ** 2 + 1.0)}


def view(values: Array) -> Array:
    """float32 [rows, columns]: the scene without its details."""
    small: Array = cv2.resize(values, VIEW, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)


class Scene:
    """Where the camera looks, as the mean of its views while that was learnt.

    A later view is compared by the zero-mean normalised cross-correlation, sum(a b) / sqrt(sum(a^2) sum(b^2)) of the
    views less their means (Lewis, "Fast normalized cross-correlation", Vision Interface 1995): light that is stronger
    or weaker leaves it at 1, a camera that was pushed does not.
    """

    def __init__(self, views: int) -> None:
        """views: to learn."""
        self._views = views
        self.mean = np.zeros(VIEW[::-1], np.float32)
        self.count = 0

    def add(self, seen: Array) -> float | None:
        """The correlation; None while the scene is learnt."""
        if self.count < self._views:
            self.count += 1
            self.mean += (seen - self.mean) / self.count
            return None
        a, b = self.mean - self.mean.mean(), seen - seen.mean()
        product = sqrt(float((a * a).sum()) * float((b * b).sum()))
        return float((a * b).sum()) / product if product > 1e-3 else 0.0
