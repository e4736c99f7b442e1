"""The contract of a preparation: payloads of one kind of source in, the engine's input filled. One file per kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from agent.data import Array, Box


class Preparation(ABC):
    """Made when a source has opened and its format is known."""

    rows = False  # a payload is a batch of readings, not one picture
    aspect = 1.0  # width / height of the frame
    region: Sequence[int] = (0, 0, 0, 0)  # part of the frame given to the model: left, top, width, height; pixels

    @abstractmethod
    def __call__(self, payload: Array, view: Array) -> bool:
        """Add a sample's payload; view: the input tensor [1, ...]. True when it is filled and an inference is due.

        Raises DeviceFault when the payload is not of the source's format.
        """

    def reset(self) -> None:  # noqa: B027 - a default: not every kind keeps samples
        """Start again after a gap: the samples before it do not precede those after it."""

    def carry_over(self, other: Preparation) -> None:  # noqa: B027 - a default: not every kind keeps samples
        """Go on where the preparation of another model with the same input was; it is not used any more."""

    @property
    def position(self) -> Sequence[int]:
        """Four numbers for the tape, with which a replay goes on from here; of pictures the region."""
        return self.region

    def unmap(self, box: Box) -> Box:
        """A box on the model's input as a box on the frame."""
        return box

    def unmap_points(self, points: Array) -> Array:
        """Keypoints [n, 3] (y, x, score) on the model's input as those on the frame."""
        return points
