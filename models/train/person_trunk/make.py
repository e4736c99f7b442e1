"""person-trunk: the layers of person-coarse on which heads for other questions can stand, weights unchanged."""

from __future__ import annotations

from pathlib import Path

from models.train import card
from models.train.cut import cut
from models.train.network import Network
from models.train.pack import pack
from models.train.person_coarse.make import FACTS as WHOLE
from models.train.person_coarse.make import golden_pictures

CUT = "CONCATENATION"  # an eighth and a sixteenth of the picture's size together
GOLDEN = 4  # rows of 28 kB


def make(place: Path) -> None:
    """Of the shipped person-coarse: nothing is trained."""
    whole = (place.parent / "person-coarse" / "person-coarse.tflite").read_bytes()
    content, head = cut(whole, CUT)
    network = Network(content)
    golden = network.quantised(golden_pictures(Network(whole)))[-GOLDEN:]
    facts = {key: WHOLE[key] for key in ("version", "picture", "budget_ms", "data")}
    facts |= {"decoder": "features", "labels": []}
    pack(place, content, facts, golden, network.run_all(golden), backend="litert")
    size = f"{len(content):,} bytes, person-head {len(head):,}; person-coarse, which is both, {len(whole):,}."
    card.write(place, _SUMMARY, {"Size": f"{size} `reflexd bench heads` measures the time.", "Limits": _LIMITS})


_SUMMARY = """
The lower part of person-coarse: 128 x 128 pixels to 16 x 16 cells of 112 values (INT8, 28,672 bytes). A backbone: it
finds nothing itself, a lane names the `heads` that read it. Cut out of the shipped person-coarse.tflite, so weights and
arithmetic are its own: with `person-head` behind it every bit of the answer is that of person-coarse. Data, teachers:
its card.
"""
_LIMITS = """
- It learnt to find persons. What a head can learn from it about something else must be measured for that head.
- Another version has other weights: every head names the sha256 of the one that it learnt with, and no other is taken.
"""
