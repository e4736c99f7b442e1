"""A simulated inspection camera: a new bare board in each picture, some with defects.

`python -m drivers.camera.sim_board FILE.png` writes the picture of a good one, for a lane's `reference`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
from pydantic import Field

from drivers.camera import sim
from drivers.camera._board import SIDE, Defect, board, good


class Options(sim.Options):
    """Boards are 640 x 640 pixels; `pictures` of them are drawn at open and repeat."""

    width: int = Field(SIDE, ge=SIDE, le=SIDE)
    height: int = Field(SIDE, ge=SIDE, le=SIDE)
    fps: float = Field(5.0, gt=0, le=1000, description="boards a second")
    pictures: int = Field(32, ge=1, le=500, description="different boards")
    defective: float = Field(0.4, ge=0, le=1, description="share of boards with one to three defects")


class Driver(sim.Driver):
    """Each picture is the next board; its defects are known from `truth`."""

    options: Options
    pixels = "grey"

    def open(self) -> None:
        o = self.options
        if not self.pictures:
            self.pictures = [board(number, o.seed, o.defective)[0] for number in range(o.pictures)]
        super().open()

    def truth(self, sequence: int) -> list[Defect]:
        """The defects of the board in that sample."""
        o = self.options
        return board(sequence % o.pictures, o.seed, o.defective)[1]

    def _index(self) -> int:
        return self.sequence % len(self.pictures)


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "reference.png")
    if not cv2.imwrite(str(path), 255 * (1 - good()), [cv2.IMWRITE_PNG_BILEVEL, 1]):
        sys.exit(f"{path}: cannot be written: does its folder exist, and is it a .png?")
    print(f"wrote {path}")
