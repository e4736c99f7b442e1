"""A worker of a pool: pictures through a model, on one core. A path as JSON a line in, a row of results a line out."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from agent.box import realtime
from agent.decoders.base import Finding
from agent.errors import PackageError
from agent.packages import package
from agent.packages.package import Package
from agent.pool import picture
from agent.pool.picture import BadPicture
from agent.prepare.pixels import Pixels
from drivers.base import DeviceFault

DIGITS = 5  # of a share of the frame: a hundredth of a pixel


class PictureModel:
    """A package that reads single pictures."""

    def __init__(self, opened: Package) -> None:
        """Raises PackageError where it reads something else."""
        if reason := unfit(opened):
            raise PackageError(f"model {opened.name}: {reason}")
        assert opened.manifest.picture
        self.package = opened
        self.pixels = Pixels(opened.manifest.picture, opened.engine.inputs[0], "bgr")

    def row(self, path: Path) -> dict[str, Any]:
        """What it finds in the picture, boxes and keypoints in shares of it; or the `error`."""
        try:
            content = picture.read(path)
            self.pixels(content, self.package.engine.input(0))
            findings = self.package.infer()
        except (BadPicture, DeviceFault) as error:  # a ModelFault, too
            return {"error": str(error)}
        height, width = content.shape[:2]
        row: dict[str, Any] = {"width": width, "height": height, "findings": list(map(self._finding, findings))}
        if self.package.decoder.keypoints is not None:
            points = self.pixels.unmap_points(self.package.decoder.keypoints)
            row["keypoints"] = points.round(DIGITS).tolist()
        return row

    def _finding(self, finding: Finding) -> dict[str, Any]:
        row: dict[str, Any] = {"label": finding.label, "score": round(float(finding.score), DIGITS)}
        if finding.box:
            row["box"] = [round(float(edge), DIGITS) for edge in self.pixels.unmap(finding.box)]
        return row


def unfit(opened: Package) -> str:
    """Why it cannot be run on single pictures; empty where it can."""
    if not opened.manifest.picture:
        return "reads no pictures"
    if opened.manifest.picture.reference:
        return "compares with a reference picture, which a folder does not have"
    if opened.network.has_memory:
        return "remembers the pictures before: its results would depend on the order"
    return ""


def serve(model: PictureModel, paths: BinaryIO, rows: BinaryIO) -> None:
    """Until the paths end. Rows are in the order of the paths."""
    for line in paths:
        name = json.loads(line)
        _write(rows, model.row(Path(name)))


def _write(rows: BinaryIO, row: dict[str, Any]) -> None:
    rows.write(json.dumps(row).encode() + b"\n")
    rows.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("core", type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the pool, and that ends its workers
    realtime.die_with_parent()
    os.sched_setaffinity(0, {options.core})
    rows = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no row
    realtime.opencv_threads()
    try:
        model = PictureModel(package.open_package(options.package))
    except PackageError as error:
        _write(rows, {"refused": str(error)})
        return
    _write(rows, {"ready": True})
    serve(model, sys.stdin.buffer, rows)


if __name__ == "__main__":
    main()
