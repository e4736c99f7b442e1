"""person-coarse: where in the picture is a person, on a grid of 16 x 16 cells; taught by three larger public networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from agent.data import Array
from models.train.data import SHARED
from models.train.engine import steady, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.person_coarse import card, folds, trunk
from models.train.person_coarse.clips import CLIPS, INPUT, SCENES, Clip, load, training_paths
from models.train.person_coarse.teachers import PUBLIC, Teachers
from models.train.person_coarse.train import SEED, real, train

FACTS = {
    "version": "2.2.0",
    "decoder": "grid",
    "labels": ["person"],
    "picture": {"colour": "rgb", "mean": 0.0, "std": 255.0, "fit": "stretch", "resize": "linear"},
    "budget_ms": 2.0,
    "data": "GMDCSA24 clips (MIT, (c) 2024 Ekram Alam) and Intel IoT DevKit sample-videos (CC BY 4.0), labelled by "
    "SSD-MobileNet-v1, NanoDet-Plus and MoveNet; begun from MLPerf Tiny's visual wake words (all Apache-2.0)",
}


def make(place: Path) -> None:
    """Five trainings: one for each fold of scenes, for the card, and the one on all clips, which ships."""
    steady(SEED)
    teachers, known = Teachers(SHARED / PUBLIC), trunk.wake_words(SHARED / PUBLIC)
    clips = [load(path, teachers, CLIPS[path.stem]) for path in tqdm(training_paths(SHARED), "teach")]
    unseen = _leave_out(clips, known)
    choice = folds.choose(clips, unseen[1], list(SCENES))
    files = learn(clips, known)
    ship(place, files[1], choice)
    card.write(place, files, clips, unseen, choice)


def ship(place: Path, content: bytes, choice: folds.Choice) -> None:
    network = Network(content)
    golden = network.quantised(_blots(network))
    facts = {**FACTS, "options": choice._asdict()}
    pack(place, content, facts, golden, network.raws(golden))


def learn(clips: Sequence[Clip], known: trunk.Weights) -> tuple[bytes, bytes]:
    """The float and the INT8 file of a network trained on the clips."""
    model, pictures = train(clips, known)
    frames = np.concatenate([clip.inputs[::4] for clip in clips])
    return to_float(model), to_int8(model, real(np.concatenate([frames, pictures[: len(frames)]])))


def _leave_out(clips: Sequence[Clip], known: trunk.Weights) -> tuple[folds.Outputs, folds.Outputs]:
    """What float and INT8 networks say of the scenes that they were not trained on."""
    said: tuple[dict[str, list[Array]], dict[str, list[Array]]] = {}, {}
    for fold in tqdm(folds.FOLDS, "scenes left out"):
        hidden = {name for scene in fold for name in SCENES[scene]}
        files = learn([clip for clip in clips if clip.name not in hidden], known)
        for outputs, network in zip(said, map(Network, files)):
            outputs.update({scene: [network(real(clip.inputs)) for clip in folds.of(clips, scene)] for scene in fold})
    return said


def _blots(network: Network) -> Array:
    """Pictures for the golden outputs: of 400 random ones those with most to say. No frame of a clip is handed on."""
    random = np.random.default_rng(SEED)
    pictures = np.stack([_squares(random.random((8, 8, 3), np.float32)) for _ in range(400)])
    says = network(pictures).max(axis=(1, 2, 3))
    return np.asarray(pictures[np.argsort(says)[-GOLDEN:]])


def _squares(colours: Array) -> Array:
    """Each value as a square of pixels: a file of them packs well."""
    return np.asarray(cv2.resize(colours, (INPUT, INPUT), interpolation=cv2.INTER_NEAREST))
