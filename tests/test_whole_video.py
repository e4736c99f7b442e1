"""Whole recordings play to their end, cut ones up to the cut, turned ones upright; damaged pictures are none."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

from agent.data import Array
from agent.view.footage import Footage
from drivers.base import Camera, DeviceError, DeviceFault, open_source
from drivers.camera import _jpeg
from drivers.camera._container import EMPTY_END, missing_bytes
from drivers.camera._jpeg_scans import SCAN, scan_end, segments
from tests.processes import Cell, camera
from tests.test_camera import samples

FRAMES, WIDTH, HEIGHT = 40, 96, 64
CODECS = {"mp4": "mp4v", "mov": "mp4v", "mkv": "mp4v", "webm": "VP80", "avi": "MJPG"}
KINDS = list(CODECS)


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> Array:
    """Light at the top left; brighter with each number."""
    made = np.full((height, width, 3), 40, np.uint8)
    made[: height // 2, : width // 2] = 100 + 3 * number
    return made


def clip(folder: Path, kind: str = "mp4", frames: int = FRAMES) -> Path:
    path = folder / f"clip.{kind}"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*CODECS[kind]), 20, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(picture(number))
    writer.release()
    return path


def source_of(path: Path, driver: str = "camera.file", **options: object) -> Camera:
    key = "path" if driver == "camera.file" else "folder"
    source = open_source(driver, {key: path, "pace": "fast", **options}, "front")
    assert isinstance(source, Camera)
    source.open()
    return source


def played(path: Path, driver: str = "camera.file") -> list[Array]:
    """Every picture up to the end of the recording. Raises DeviceError where it is no end."""
    source = source_of(path, driver)
    try:
        return [sample.payload.copy() for sample in samples(source, 10 * FRAMES)]
    finally:
        source.close()


def patched(path: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def longer(content: bytearray) -> None:
    """The duration of the container is that of its sound; FFmpeg estimates the number of frames from it."""
    at = content.index(b"\x44\x89\x88") + 3
    content[at : at + 8] = struct.pack(">d", 10 * struct.unpack(">d", content[at : at + 8])[0])


def more_announced(content: bytearray) -> None:
    """An AVI counts fields or packets, of which not each gives a picture."""
    for name, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = content.index(name) + offset
        content[at : at + 4] = (2 * FRAMES).to_bytes(4, "little")


def second_half(content: bytearray) -> None:
    """An edit list that shows what comes after the middle: so a phone cuts without encoding again."""
    scale = int.from_bytes(content[(at := content.index(b"mdhd") + 16) : at + 4], "big")
    at = content.index(b"elst") + 12
    content[at : at + 8] = struct.pack(">II", 1000, scale)


@pytest.mark.parametrize(
    "kind, change, frames",
    [
        *[(kind, None, FRAMES) for kind in KINDS],
        ("mkv", longer, FRAMES),
        ("webm", longer, FRAMES),
        ("avi", more_announced, FRAMES),
        ("mp4", second_half, FRAMES // 2),
        ("mov", second_half, FRAMES // 2),
    ],
)
def test_kind_a_whole_recording_is_not_cut_off(
    tmp_path: Path, kind: str, change: Callable[[bytearray], None] | None, frames: int
) -> None:
    path = clip(tmp_path, kind)
    if change:
        patched(path, change)
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) > frames + 1
    assert abs(len(played(path)) - frames) <= (1 if change is second_half else 0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_what_is_missing_is_known_from_the_headers(tmp_path: Path, kind: str, share: float) -> None:
    path = clip(tmp_path, kind)
    content = path.read_bytes()
    assert missing_bytes(path) == 0
    for count in (10, EMPTY_END, 2 * EMPTY_END):  # what others append, or pad with, is no part of it
        path.write_bytes(content + bytes(count))
        assert missing_bytes(path) == 0
    path.write_bytes(content[: int(len(content) * share)])
    assert missing_bytes(path) > 0
    with pytest.raises(DeviceError, match="is cut off"):
        played(path)


def test_a_download_that_reserved_its_space_is_cut_off(tmp_path: Path) -> None:
    path = clip(tmp_path, "avi")
    path.write_bytes(path.read_bytes()[:-EMPTY_END] + bytes(EMPTY_END))
    with pytest.raises(DeviceFault, match=r"is cut off after \d+ frames: at least 4096 bytes are missing"):
        played(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFF\xff\xff\xff\xffAVI ",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff",
        b"G" * 376,
    ]
    + [(8).to_bytes(4, "big") + b"free"] * 2,
)
def test_a_file_that_does_not_say_how_long_it_is_may_be_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert missing_bytes(tmp_path / "file") == 0


def turned(degrees: int) -> Callable[[bytearray], None]:
    """The display matrix of a phone that was held so. Clockwise."""
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]

    def change(content: bytearray) -> None:
        at = content.index(b"tkhd") + 44
        matrix = (a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
        content[at : at + 36] = struct.pack(">9i", *matrix)

    return change


@pytest.mark.parametrize("degrees, light", [(90, (0, 1)), (180, (1, 1)), (270, (1, 0))])
def test_kind_a_clip_of_a_turned_phone_is_upright(tmp_path: Path, degrees: int, light: tuple[int, int]) -> None:
    pictures = played(patched(clip(tmp_path), turned(degrees)))
    assert len(pictures) == FRAMES
    height, width = (WIDTH, HEIGHT) if degrees != 180 else (HEIGHT, WIDTH)
    for each in pictures:
        assert each.shape == (height, width, 3)
        corners = each[:: height - 1, :: width - 1, 1]
        assert corners[light] > 80 and sorted(corners.ravel().tolist())[2] < 80


@pytest.mark.parametrize(
    "a, b, c, d, light", [(-1, 0, 0, 1, (0, 1)), (1, 0, 0, -1, (1, 0)), (0, 1, 1, 0, (0, 0)), (0, -1, -1, 0, (1, 1))]
)
@pytest.mark.parametrize("kind", ["mp4", "mov"])
def test_kind_a_mirrored_clip_is_mirrored(
    tmp_path: Path, kind: str, a: int, b: int, c: int, d: int, light: tuple[int, int]
) -> None:
    """As of a front camera: its matrix has no angle, and OpenCV's is another."""

    def mirror(content: bytearray) -> None:
        at = content.index(b"tkhd") + 44
        matrix = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
        content[at : at + 36] = struct.pack(">9i", *matrix)

    pictures = played(patched(clip(tmp_path, kind), mirror))
    assert len(pictures) == FRAMES
    height, width = (WIDTH, HEIGHT) if a == 0 else (HEIGHT, WIDTH)
    for each in pictures:
        assert each.shape == (height, width, 3)
        corners = each[:: height - 1, :: width - 1, 1]
        assert corners[light] > 80 and sorted(corners.ravel().tolist())[2] < 80


@pytest.mark.parametrize("quality", [10, 60, 95])
@pytest.mark.parametrize("restarts", [0, 4])
@pytest.mark.parametrize("noisy", [False, True])
def test_kind_a_progressive_jpeg_without_all_its_scans_is_no_picture(quality: int, restarts: int, noisy: bool) -> None:
    y, x = np.mgrid[0:117, 0:93]
    smooth = np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)
    shown = np.random.default_rng(0).integers(0, 256, smooth.shape, np.uint8) if noisy else smooth
    kind = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, restarts, cv2.IMWRITE_JPEG_QUALITY, quality]
    for each in (shown, np.ascontiguousarray(shown[..., 0])):
        whole = cv2.imencode(".jpg", each, kind)[1]
        assert _jpeg.decode(whole) is not None
        last = whole.tobytes().rindex(b"\xff\xda")
        for length in (last // 3, 2 * last // 3, last):
            cut = np.append(whole[:length], np.frombuffer(b"\xff\xd9", np.uint8))
            assert _jpeg.decode(cut) is None, length


def holes(jpeg: bytes, first: float, refining: float) -> Iterator[bytes]:
    """The picture without such a share of a first or refining scan, at four places of each that is long enough."""
    random = np.random.default_rng(0)
    for kind, _, start in segments(memoryview(jpeg)):
        length = scan_end(memoryview(jpeg), start) - start
        if kind == SCAN and length > 400:
            size = int(length * (refining if jpeg[start - 1] >> 4 else first))
            for hole in start + random.integers(0, length - size, 4):
                yield jpeg[:hole] + jpeg[hole + size :]


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("restarts", [0, 4])
@pytest.mark.parametrize("colours", [1, 3])
def test_kind_a_progressive_jpeg_with_a_hole_in_a_scan_is_no_picture(quality: int, restarts: int, colours: int) -> None:
    """The scans behind the hole are whole, and so is the end mark: it decodes, with blocks at the wrong place."""
    noise = np.random.default_rng(0).integers(0, 256, (243, 325, colours), np.uint8)
    kind = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, restarts, cv2.IMWRITE_JPEG_QUALITY, quality]
    whole = cv2.imencode(".jpg", noise, kind)[1].tobytes()
    assert _jpeg.decode(np.frombuffer(whole, np.uint8)) is not None
    damaged = [*holes(whole, first=0.05, refining=0.4)]
    assert len(damaged) >= 16
    assert all(_jpeg.decode(np.frombuffer(each, np.uint8)) is None for each in damaged)


def test_kind_pictures_with_holes_are_said_not_played(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    (tmp_path / "0.jpg").write_bytes(next(holes(whole, 0.1, 0.4)))
    with pytest.raises(DeviceFault, match=r"0\.jpg does not decode"):
        played(tmp_path, "camera.replay")


def test_a_jpeg_whose_colours_were_cut_off_is_no_picture() -> None:
    """A scan for each component, as some scanners write; the second and the third are missing."""
    whole = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    at = whole.rindex(b"\xff\xda")
    first = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    assert _jpeg.decode(np.frombuffer(whole[:at] + first + whole[at + 14 :], np.uint8)) is None


def jpeg(name: Path, content: Array) -> bytes:
    cv2.imwrite(str(name), content, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return name.read_bytes()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_kind_a_jpeg_that_was_cut_and_ended_is_no_picture(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    whole = jpeg(tmp_path / "0.jpg", noise)
    assert _jpeg.decode(np.frombuffer(whole + bytes(99), np.uint8)) is not None
    assert len(played(tmp_path, "camera.replay")) == 1
    (tmp_path / "0.jpg").write_bytes(whole[: int(len(whole) * share)] + b"\xff\xd9")
    with pytest.raises(DeviceFault, match=r"0\.jpg does not decode"):
        played(tmp_path, "camera.replay")


@pytest.mark.parametrize("interval", [1, 4, 20])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("sampling", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
def test_kind_a_jpeg_without_some_of_its_restart_intervals_is_no_picture(
    interval: int, colours: int, sampling: int
) -> None:
    """A decoder goes on at the next marker, so that the rest is at another place."""
    noise = np.random.default_rng(0).integers(0, 256, (123, 165, colours), np.uint8)
    options = [cv2.IMWRITE_JPEG_RST_INTERVAL, interval, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    whole = cv2.imencode(".jpg", noise, options)[1].reshape(-1)
    assert _jpeg.decode(whole) is not None
    assert _jpeg.decode(whole, one_scan=True) is not None
    hole = np.concatenate([whole[: len(whole) // 2], whole[9 * len(whole) // 10 :]])
    assert _jpeg.decode(hole) is None
    assert _jpeg.decode(hole, one_scan=True) is None


@pytest.mark.parametrize("level", [0, 127, 128, 129, 255])
@pytest.mark.parametrize("flags", [cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_8])
def test_a_grey_picture_is_a_picture(tmp_path: Path, level: int, flags: int) -> None:
    """Grey is also what a decoder makes of missing blocks."""
    whole = jpeg(tmp_path / "grey.jpg", np.full((48, 64, 3), level, np.uint8))
    assert _jpeg.decode(np.frombuffer(whole, np.uint8), flags) is not None


def test_a_damaged_picture_of_a_jpeg_video_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 20, (WIDTH, HEIGHT))
    noise = np.random.default_rng(0)
    for _ in range(5):
        writer.write(noise.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    writer.release()

    def damage(content: bytearray) -> None:
        """Half of the third picture is missing, and it has an end mark."""
        at = content.index(b"movi")
        for _ in range(3):
            at = content.index(b"00dc", at + 1)
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        half = at + 8 + length // 2
        content[half : at + 8 + length] = b"\xff\xd9" + bytes(at + 8 + length - half - 2)

    source = source_of(patched(path, damage))
    assert [sample.sequence for sample in samples(source, 9)] == [0, 1, 3, 4]
    source.close()


def not_utf8(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))


def test_kind_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = clip(tmp_path).rename(not_utf8(tmp_path, b"n\xffme.mp4"))
    source = source_of(path, loop=True)
    assert len([*samples(source, 2 * FRAMES + 1)]) == 2 * FRAMES + 1
    source.close()
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DeviceFault, match=r"n\\xffme\.mp4 does not open as a video: it is cut off"):
        source_of(path)
    folder = not_utf8(tmp_path, b"f\xfflder")
    folder.mkdir()
    (folder / "0.png").write_bytes(cv2.imencode(".png", picture(0))[1].tobytes())
    (folder / "0.png").rename(not_utf8(folder, b"\xff.png"))
    assert len(played(folder, "camera.replay")) == 1
    not_utf8(folder, b"\xfe.jpg").write_bytes(b"no picture")
    with pytest.raises(DeviceFault, match=r"f\\xfflder/\\xfe\.jpg does not decode"):
        played(folder, "camera.replay")


def test_kind_what_a_mac_leaves_in_a_folder_is_no_picture(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
        (tmp_path / f"._{number}.png").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    (tmp_path / "folder.png").mkdir()
    assert len(played(tmp_path, "camera.replay")) == 3


def test_kind_a_folder_of_mixed_sizes_is_inferred(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, (width, height) in enumerate([(160, 120), (120, 160), (64, 64), (321, 77)]):
        cv2.imwrite(str(pictures / f"{number}.png"), picture(number, width, height))
    gate = {"motion": {"crop": True}, "idle_interval_ms": 100}
    lane = {**camera("camera.replay", folder=str(pictures), fps=20, loop=True), "gate": gate}
    with Cell(tmp_path, {"camera": lane}) as cell:
        _, daemon = cell.start_both()
        cell.wait_for_count("camera", "inferences", 20)
        assert cell.counts("camera")["faults"] == 0
        assert daemon.stop() == 0


def test_a_clip_is_not_written_to_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    out = not_utf8(tmp_path, b"o\xfft.mp4")
    with pytest.raises(click.ClickException, match=r"o\\xfft\.mp4: a clip needs a name in UTF-8"):
        Footage(out, None)
