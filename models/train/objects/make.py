"""objects: boxes of persons, vehicles and the other COCO labels; YOLOX-Nano as published, quantised to INT8 here.

`python -m models.train.objects.make --help` for another input size, ONNX file or clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from agent.data import Array
from agent.errors import DataError
from agent.modeltools.labels import COCO
from models.train.data import SHARED
from models.train.engine import to_float
from models.train.network import Network
from models.train.objects import card, drawings, frames, graph, ranges, tune
from models.train.objects.frames import NETWORK
from models.train.pack import pack

SIDE = 416
FACTS = {
    "version": "1.0.0",
    "licence": "Apache-2.0",
    "decoder": "yolo",
    "labels": COCO,
    "picture": frames.PICTURE,
    "budget_ms": 20.0,
    "data": "COCO 2017 (annotations CC BY 4.0), trained by Megvii: YOLOX-Nano (Apache-2.0, (c) 2021-2022 Megvii Inc.);"
    " quantised on GMDCSA24 clips (MIT, (c) 2024 Ekram Alam) and Intel IoT DevKit sample-videos (CC BY 4.0)",
}


def make(
    place: Path,
    network: Path = SHARED / NETWORK,
    calibration: tuple[frames.Part, ...] = frames.CALIBRATION,
    side: int = SIDE,
    steps: int = 0,
) -> None:
    """The package, and its card with a comparison on other clips. Raises DataError."""
    if not network.is_file():
        raise DataError(f"{network}: no such file: YOLOX-Nano as ONNX, from a release of Megvii-BaseDetection/YOLOX")
    letterbox = frames.Letterbox(side, side)
    clips = frames.read(SHARED, calibration)
    shown = frames.mirrored([frame for clip in clips.values() for frame in clip])
    exact = to_float(graph.load(network, side, side))
    groups = ranges.choose(exact, map(letterbox, shown))
    if steps:
        better = tune.tuned(network, side, groups, ranges.of_layers(exact, groups), shown, steps)
        exact, groups = to_float(better.network), better.groups
    content = ranges.quantised(exact, groups)
    write_package(place, content, side)
    card.write(place, network, list(clips), len(shown), steps)


def write_package(place: Path, content: bytes, side: int) -> None:
    pictures = (drawings.pictures(side).astype(np.int16) - 128).astype(np.int8)
    # Persons who lie or are partly hidden score low, and a rule asks for a score, a zone and several hits of its own.
    options = {"layout": "yolox", "size": [side, side], "min_score": 0.15}
    pack(place, content, {**FACTS, "options": options}, pictures, *_outputs(Network(content), pictures))


def _outputs(network: Network, pictures: Array) -> list[Array]:
    """Of each output, in the file's order."""
    rows: list[list[Array]] = []
    for picture in pictures:
        network.run(picture)
        details = network.interpreter.get_output_details()
        rows.append([network.interpreter.get_tensor(detail["index"])[0] for detail in details])
    return [np.stack(each) for each in zip(*rows)]


def _part(text: str) -> frames.Part:
    """PATTERN or PATTERN:END, a share of each clip."""
    pattern, _, end = text.partition(":")
    return frames.Part(pattern, 8, end=float(end or 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.train.objects.make", description=__doc__)
    parser.add_argument("--network", type=Path, default=SHARED / NETWORK, metavar="FILE", help="YOLOX as ONNX")
    parser.add_argument("--into", type=Path, default=Path("objects"), metavar="DIR", help="folder of the package")
    parser.add_argument("--side", type=int, default=SIDE, help="of the square input, a multiple of 32")
    parser.add_argument(
        "--calibrate",
        type=_part,
        nargs="+",
        default=frames.CALIBRATION,
        metavar="CLIPS[:END]",
        help="patterns of clips below ../shared/data that show the range of each tensor; END: a share of their length",
    )
    parser.add_argument(
        "--tune", type=int, default=0, metavar="STEPS", help="fine-tune for INT8 (tune.py); none: do not"
    )
    arguments = parser.parse_args()
    make(arguments.into, arguments.network, tuple(arguments.calibrate), arguments.side, arguments.tune)


if __name__ == "__main__":
    main()
