"""person-head: the upper layers of person-coarse, which read person-trunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.packages import package
from models.train import card
from models.train.cut import cut
from models.train.network import Network
from models.train.pack import pack
from models.train.person_coarse.make import FACTS as WHOLE
from models.train.person_trunk.make import CUT

TRUNK = "person-trunk"


def make(place: Path) -> None:
    """Of the shipped person-coarse and person-trunk: nothing is trained. Raises PackageError."""
    folder = place.parent / "person-coarse"
    _, content = cut((folder / "person-coarse.tflite").read_bytes(), CUT)
    golden = np.load(place.parent / TRUNK / "golden.npz")["output_0"]
    network, whole = Network(content), package.read(folder)
    facts = {
        **{key: WHOLE[key] for key in ("version", "decoder", "labels", "data")},
        "backbone": {"model": TRUNK, "sha256": package.read(place.parent / TRUNK).checksum},
        "budget_ms": 1.0,
        "options": whole.options,
    }
    pack(place, content, facts, golden, network.run_all(golden), backend="litert")
    size = f"{len(content):,} bytes. `reflexd bench heads` measures the time."
    card.write(place, _SUMMARY, {"Accuracy": _ACCURACY, "Size": size})


_SUMMARY = """
Where in the picture is a person? The upper part of person-coarse as a head: reads what `person-trunk` gives for the
picture, gives a score for each of 16 x 16 cells. Cut out of the shipped person-coarse.tflite: behind person-trunk every
bit of the answer is that of person-coarse. A wake-up gate, as that one is: not for zones, counting or tracks.
"""
_ACCURACY = "That of person-coarse, whose card has the figures and their limits."
