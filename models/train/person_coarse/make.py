"""person-coarse: where in the picture a person is, on a grid of 16 x 16 cells; taught by three public networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from agent.data import Array
from models.train.data import SHARED
from models.train.engine import make_reproducible, to_float, to_int8
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.person_coarse import card, folds, trunk
from models.train.person_coarse.clips import CLIPS, INPUT, SCENES, Clip, load, training_paths
from models.train.person_coarse.teachers import PUBLIC, Teachers
from models.train.person_coarse.train import SEED, normalised, train

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
    make_reproducible(SEED)
    teachers, pretrained = Teachers(SHARED / PUBLIC), trunk.wake_words(SHARED / PUBLIC)
    clips = [load(path, teachers, CLIPS[path.stem]) for path in tqdm(training_paths(SHARED), "teach")]
    outputs = _left_out_outputs(clips, pretrained)
    choice = folds.choose(clips, outputs[1], list(SCENES))
    files = trained_files(clips, pretrained)
    write_package(place, files[1], choice)
    card.write(place, files, clips, outputs, choice)


def write_package(place: Path, content: bytes, choice: folds.Choice) -> None:
    network = Network(content)
    golden = network.quantised(golden_pictures(network))
    facts = {**FACTS, "options": {**choice._asdict(), "wake_up_gate": True}}
    pack(place, content, facts, golden, network.run_all(golden))


def trained_files(clips: Sequence[Clip], pretrained: trunk.Weights) -> tuple[bytes, bytes]:
    """The float and the INT8 file of a network trained on the clips."""
    model, pictures = train(clips, pretrained)
    frames = np.concatenate([clip.inputs[::4] for clip in clips])
    return to_float(model), to_int8(model, normalised(np.concatenate([frames, pictures[: len(frames)]])))


def _left_out_outputs(clips: Sequence[Clip], pretrained: trunk.Weights) -> tuple[folds.Outputs, folds.Outputs]:
    """Outputs of float and of INT8 networks for the scenes that they were not trained on."""
    outputs: tuple[dict[str, list[Array]], dict[str, list[Array]]] = {}, {}
    for fold in tqdm(folds.FOLDS, "scenes left out"):
        hidden = {name for scene in fold for name in SCENES[scene]}
        files = trained_files([clip for clip in clips if clip.name not in hidden], pretrained)
        for by_scene, network in zip(outputs, map(Network, files)):
            for scene in fold:
                by_scene[scene] = [network(normalised(clip.inputs)) for clip in folds.clips_of(clips, scene)]
    return outputs


def golden_pictures(network: Network) -> Array:
    """Of 400 random pictures those with the highest scores: no frame of a clip goes into the package."""
    random = np.random.default_rng(SEED)
    pictures = np.stack([_squares(random.random((8, 8, 3), np.float32)) for _ in range(400)])
    highest = network(pictures).max(axis=(1, 2, 3))
    return np.asarray(pictures[np.argsort(highest)[-GOLDEN:]])


def _squares(colours: Array) -> Array:
    """Each value as a square of pixels: a file of them packs well."""
    return np.asarray(cv2.resize(colours, (INPUT, INPUT), interpolation=cv2.INTER_NEAREST))
