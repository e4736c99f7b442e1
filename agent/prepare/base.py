"""What a preparation is: samples of one kind of source in, the interpreter's input tensor filled. One file per kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from agent.data import Array, Box


class Preparation(ABC):
    """Made when a source has opened and says what it delivers."""

    rows = False  # a payload is a batch of readings, not one picture
    aspect = 1.0  # width / height of the frame
    region: Sequence[int] = (0, 0, 0, 0)  # part of the frame that the model sees: left, top, width, height; pixels

    @abstractmethod
    def __call__(self, payload: Array, view: Array) -> bool:
        """Take in a sample's payload; view: the input tensor [1, ...]. True when it is filled and an inference is due.

        Raises DeviceFault when the payload is not what the source promised.
        """

    def reset(self) -> None:
        """After a gap: what came before is no neighbour of what comes next."""

    def unmap(self, box: Box) -> Box:
        """A box on the model's input as a box on the frame."""
        return box

    def unmap_points(self, points: Array) -> Array:
        """Keypoints [n, 3] (y, x, score) on the model's input as those on the frame."""
        return points
