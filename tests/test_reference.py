"""A model that compares with the picture of a good part: from the file to the decision, and every wrong file."""

from __future__ import annotations

import os
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.backends.base import Tensor
from agent.data import Array
from agent.errors import PackageError
from agent.offline import offline_lane
from agent.packages import package
from agent.packages.manifest import Picture
from agent.packages.package import BUNDLED
from agent.perception import Perception
from agent.prepare.pixels import CHANNELS, Pixels
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.vision import reference
from agent.vision.reference import BadReference
from drivers.base import DeviceFault
from tests.processes import Cell
from tests.shared import mistakes

PCB = BUNDLED / "pcb-inspect"
GREY = Picture(colour="grey", std=255.0, reference=True)
REJECT = {
    "any": [{"lane": "camera", "label": kind, "score": 0.5, "hits": 1, "of": 1} for kind in ("open", "short")],
    "actuator": "gate",
    "verb": "reject",
}


def board(gap: bool = False, bridge: bool = False) -> Array:
    """Copper is black: traces that end in pads. gap: one is cut; bridge: two are joined."""
    drawn = np.full((640, 640), 255, np.uint8)
    for number in range(6):
        x = 70 + 100 * number
        cv2.line(drawn, (x, 60), (x, 580), 0, 14)
        cv2.circle(drawn, (x, 580), 26, 0, -1)
    if gap:
        cv2.line(drawn, (255, 300), (285, 306), 255, 8)
    if bridge:
        cv2.line(drawn, (370, 200), (470, 206), 0, 7)
    return drawn


def saved(path: Path, picture: Array) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def as_camera(grey: Array, layout: str) -> Array:
    """A grey picture in a camera's layout; YUYV's Y is the grey value as it is."""
    if layout == "grey":
        return grey
    if layout == "yuyv":
        return np.stack([grey, np.full_like(grey, 128)], axis=2)
    return np.ascontiguousarray(grey[..., None].repeat(3, axis=2))


def tensor(shape: tuple[int, ...], dtype: Any = np.int8, scale: float = 1 / 255, zero_point: int = -128) -> Tensor:
    return Tensor("input", shape, dtype, scale, zero_point)


@pytest.mark.parametrize("layout", sorted(CHANNELS))
@pytest.mark.parametrize(
    "dtype, scale, zero_point", [(np.int8, 1 / 255, -128), (np.uint8, 1 / 255, 0), (np.float32, 0.0, 0)]
)
def test_the_frame_is_channel_0_and_the_reference_channel_1(
    layout: str, dtype: Any, scale: float, zero_point: int
) -> None:
    frame, good = np.full((48, 64), 200, np.uint8), np.tile(np.arange(64, dtype=np.uint8), (48, 1))
    view = np.zeros((1, 48, 64, 2), dtype)
    prepare = Pixels(GREY, tensor(view.shape, dtype, scale, zero_point), layout, good)
    for _ in range(2):
        prepare(as_camera(frame, layout), view)
        grey = (view[0].astype(float) - zero_point) * (scale or 1.0) * 255
        assert np.abs(grey[:, :, 0] - 200).max() <= 2
        assert np.abs(grey[:, :, 1] - good).max() <= 1


def test_a_planar_model_has_its_channels_apart() -> None:
    view = np.zeros((1, 2, 8, 12), np.float32)
    prepare = Pixels(GREY, tensor(view.shape, np.float32, 0.0, 0), "grey", np.full((8, 12), 51, np.uint8))
    prepare(np.full((8, 12), 255, np.uint8), view)
    assert np.allclose(view[0, 0], 1.0) and np.allclose(view[0, 1], 0.2)


def test_both_lie_in_the_same_place_of_a_letterbox() -> None:
    frame = np.zeros((40, 80), np.uint8)
    frame[10:20, 30:50] = 255
    view = np.zeros((1, 64, 64, 2), np.int8)
    letterbox = GREY.model_copy(update={"fit": "letterbox"})
    Pixels(letterbox, tensor(view.shape), "grey", cv2.resize(frame, (160, 80)))(frame, view)
    assert (view[0, :, :, 0] > 0).any()
    assert ((view[0, :, :, 0] > 0) == (view[0, :, :, 1] > 0)).mean() > 0.98


def test_the_reference_is_written_once() -> None:
    """The engine keeps its input: values written to channel 1 afterwards stay."""
    view = np.zeros((1, 32, 32, 2), np.int8)
    prepare = Pixels(GREY, tensor(view.shape), "grey", np.full((32, 32), 90, np.uint8))
    prepare(np.zeros((32, 32), np.uint8), view)
    view[..., 1] = 7
    prepare(np.zeros((32, 32), np.uint8), view)
    assert (view[..., 1] == 7).all()
    prepare(np.zeros((64, 64), np.uint8), view)  # another frame size: written again
    assert (view[..., 1] == 90 - 128).all()


def test_a_frame_makes_no_garbage() -> None:
    frame, view = np.zeros((480, 480, 3), np.uint8), np.zeros((1, 256, 256, 2), np.int8)
    prepare = Pixels(GREY, tensor(view.shape), "bgr", np.full((480, 480), 90, np.uint8))
    prepare(frame, view)
    tracemalloc.start()
    for _ in range(20):
        prepare(frame, view)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000  # a picture of the input's size has 65,536 bytes


def test_a_camera_of_another_shape_is_a_fault() -> None:
    prepare = Pixels(GREY, tensor((1, 32, 32, 2)), "grey", np.zeros((480, 640), np.uint8))
    for _ in range(2):
        with pytest.raises(
            DeviceFault, match="the camera gives 64x64, the reference is 640x480: take it with this camera"
        ):
            prepare(np.zeros((64, 64), np.uint8), np.zeros((1, 32, 32, 2), np.int8))


@pytest.mark.parametrize("picture, good", [(GREY, None), (Picture(colour="grey"), np.zeros((8, 8), np.uint8))])
def test_model_and_lane_must_agree_on_a_reference(picture: Picture, good: Array | None) -> None:
    with pytest.raises(DeviceFault, match="compares with (a|no) reference"):
        Pixels(picture, tensor((1, 8, 8, 2 if picture.reference else 1)), "grey", good)


def changed(folder: Path, name: str, old: str, new: str) -> Path:
    """A copy of a bundled package with another manifest."""
    copy = Path(shutil.copytree(BUNDLED / name, folder / "changed"))
    manifest = (copy / "manifest.yaml").read_text()
    assert old in manifest
    (copy / "manifest.yaml").write_text(manifest.replace(old, new))
    return copy


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        (
            "pcb-inspect",
            "  reference: true\n",
            "",
            "a picture needs an input [1, height, width, 1 or 3], the model takes (1, 640, 640, 2)",
        ),
        ("pcb-inspect", 'colour: "grey"', 'colour: "rgb"', "a reference is compared in grey: set 'colour: grey'"),
        (
            "person-coarse",
            'colour: "rgb"',
            'colour: "grey"\n  reference: true',
            "a picture with a reference needs an input [1, height, width, 2], the model takes (1, ",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_the_input(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    with pytest.raises(PackageError) as refused:
        package.open_package(changed(tmp_path, name, old, new))
    assert message in str(refused.value)


def verbs(folder: Path, good: Array | None, *frames: Array) -> list[str]:
    """Decisions on frames that a camera delivers one after the other."""
    for number, frame in enumerate(frames):
        saved(folder / f"{number}.png", frame)
    perception = Perception(package.open_package(PCB), reference=good)
    lane = offline_lane("camera", "camera.replay", {"folder": str(folder)}, perception)
    played = lane.play(Scene(Rules({"bad": RuleConfig.model_validate(REJECT)}, {"gate": "pass"})))
    return [decision.verb for _, decisions in played for decision in decisions]


def test_a_cut_trace_is_rejected_and_a_good_board_passes(tmp_path: Path) -> None:
    good = reference.read(saved(tmp_path.with_suffix(".png"), board()))
    assert verbs(tmp_path, good, board(), board(gap=True), board(), board(bridge=True), board()) == [
        "pass",
        "reject",
        "pass",
        "reject",
        "pass",
    ]


def test_the_model_compares_with_the_reference_it_is_given(tmp_path: Path) -> None:
    """Against the picture of the cut board, the cut one is good."""
    assert verbs(tmp_path, board(gap=True), board(gap=True)) == ["pass"]


def test_without_its_reference_a_lane_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(DeviceFault, match="compares with a reference"):
        verbs(tmp_path, None, board())


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb() -> bytes:
    """A PNG of ten billion pixels in a few bytes."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return reference.PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def encoded(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, board())[1])


def damaged(suffix: str) -> bytes:
    """Zeros in its middle; a JPEG decoder makes up pixels there."""
    raw = bytearray(encoded(suffix))
    middle = len(raw) // 2
    raw[middle : middle + 300] = bytes(300)
    return bytes(raw)


BAD = {
    "empty": (b"", "no PNG or JPEG"),
    "text": (b"a picture, allegedly", "no PNG or JPEG"),
    "bmp": (encoded(".bmp"), "no PNG or JPEG"),
    "header": (encoded(".png")[:20], "no PNG or JPEG"),
    "marker": (encoded(".jpg")[:4], "no PNG or JPEG"),
    "png-half": (encoded(".png")[:1000], "breaks off"),
    "jpg-half": (encoded(".jpg")[:5000], "breaks off"),
    "damaged": (damaged(".png"), "does not decode"),
    "damaged-jpg": (damaged(".jpg"), "does not decode"),
    "bomb": (bomb(), "100000 x 100000 pixels; at most"),
    "grey": (bytes(cv2.imencode(".png", np.full((640, 640), 90, np.uint8))[1]), "all of it is one grey"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_reference_file_is_refused(tmp_path: Path, name: str) -> None:
    raw, message = BAD[name]
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(BadReference) as refused:
        reference.read(tmp_path / name)
    assert message in str(refused.value) and name in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    """No other outcome, whatever bytes are changed."""
    random, good, refused = np.random.default_rng(4), encoded(suffix), 0
    for _ in range(60):
        raw = bytearray(good)
        for at in random.integers(0, len(raw), 4):
            raw[at] = random.integers(256)
        (tmp_path / "file").write_bytes(raw[: len(raw) if random.random() < 0.8 else random.integers(len(raw))])
        try:
            assert reference.read(tmp_path / "file").size <= reference.MAX_PIXELS
        except BadReference:
            refused += 1
    assert refused > 10


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("none.png", "does not exist"),
        (".", "is no file"),
        ("pipe", "is no file"),
        ("m" * 300, "not exist"),
    ):
        with pytest.raises(BadReference, match=message):
            reference.read(tmp_path / name)


def test_a_file_too_large(tmp_path: Path) -> None:
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(reference.MAX_BYTES + 1)
    with pytest.raises(BadReference, match="larger than"):
        reference.read(tmp_path / "large.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_good_file_of_either_kind(tmp_path: Path, suffix: str) -> None:
    for picture in (board(), cv2.cvtColor(board(), cv2.COLOR_GRAY2BGR)):
        picture_read = reference.read(saved(tmp_path / f"good{suffix}", picture))
        assert np.abs(picture_read.astype(int) - board()).mean() < 2


CONFIG = """\
run_dir: run
lanes:
  camera:
    source: {driver: camera.sim, width: 640, height: 640}
    model: pcb-inspect
    reference: good.png
actuators:
  gate: {device: {driver: actuator.sim}, rest: run}
"""


def test_a_good_configuration_and_each_mistake_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    (line,) = mistakes(path, CONFIG)
    assert line == f"6: '{tmp_path}/good.png' does not exist"
    saved(tmp_path / "good.png", board())
    assert mistakes(path, CONFIG) == []
    (line,) = mistakes(path, CONFIG.replace("    reference: good.png\n", ""))
    assert line.startswith("5: model 'pcb-inspect' compares with a good part: add 'reference: FILE'")
    (line,) = mistakes(path, CONFIG.replace("pcb-inspect", "person-coarse"))
    assert line.startswith("6: model 'person-coarse' compares with no reference: remove this line")
    (line,) = mistakes(path, CONFIG.replace("reference: good", "referense: good"))
    assert "did you mean 'reference'?" in line


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_damaged_reference_is_reported_before_any_device_moves(tmp_path: Path, command: str) -> None:
    (tmp_path / "good.png").write_bytes(BAD["damaged"][0])
    with Cell(tmp_path, {}) as cell:
        path = tmp_path / "reflexd.yaml"
        path.write_text(CONFIG)
        process = cell.start(command, "-c", str(path))
        assert process.exit_code() == 2
        (line,) = process.text.splitlines()
    assert line == f"{path}:6: '{tmp_path}/good.png' does not decode: it is damaged; save it again"


def test_the_daemon_gives_the_reference_to_its_lane(tmp_path: Path) -> None:
    """No device fault, and inferences are counted."""
    saved(tmp_path / "good.png", board())
    with Cell(tmp_path, {}) as cell:
        path = tmp_path / "reflexd.yaml"
        path.write_text(CONFIG.replace("run_dir: run", f"run_dir: {cell.run_dir}"))
        process = cell.start("run", "-c", str(path), "--samples", "3")
        assert process.exit_code() == 0
        assert "trying again" not in process.text
        assert cell.counts("camera")["inferences"] >= 3
