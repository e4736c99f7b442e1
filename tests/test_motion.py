"""The background model: what is foreground, what is exposure, shadow or a camera that was moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends.base import EngineError
from agent.backends.motion import Engine
from agent.data import Array

H, W = 96, 160


def engine(folder: Path, **parameters: Any) -> Engine:
    path = folder / "motion.yaml"
    parameters = {"height": H, "width": W, "settle": 10, **parameters}
    path.write_text("".join(f"{key}: {value}\n" for key, value in parameters.items()))
    return Engine(path, 1)


def road(number: int, light: float = 1.0) -> Array:
    """Picture `number` of an empty street with structure and noise, uint8 [H, W]. light: exposure."""
    street = 80 + 40 * np.random.default_rng(1).random((H, W))
    noise = np.random.default_rng(1000 + number).normal(0, 2, (H, W))
    return np.asarray(np.clip(light * (street + noise), 0, 255), np.uint8)


def put(picture: Array, level: float, box: tuple[int, int, int, int] = (60, 30, 100, 70)) -> Array:
    """A thing of that many times the street's brightness; left, top, right, bottom."""
    left, top, right, bottom = box
    picture[top:bottom, left:right] = np.clip(picture[top:bottom, left:right] * level, 0, 255)
    return picture


def show(eye: Engine, picture: Array) -> Array:
    eye.input(0)[0, :, :, 0] = picture
    eye.invoke()
    return eye.real(0)[0, :, :, 0].copy()


def settled(folder: Path, pictures: int = 40, **parameters: Any) -> Engine:
    eye = engine(folder, **parameters)
    for number in range(pictures):
        show(eye, road(number))
    return eye


def inside(found: Array) -> float:
    return float((found[32:68, 62:98] > 0).mean())


def outside(found: Array) -> float:
    elsewhere = np.ones(found.shape, bool)
    elsewhere[22:78, 52:108] = False
    return float((found[elsewhere] > 0).mean())


def test_what_comes_into_view_is_foreground_by_its_contrast(tmp_path: Path) -> None:
    eye = settled(tmp_path)
    assert show(eye, road(50)).max() == 0
    faint, bright = show(eye, put(road(51), 1.3)), show(eye, put(road(52), 2.0))
    assert inside(bright) == 1 and outside(bright) == 0
    assert inside(faint) > 0.8 and faint.max() <= 1
    assert 0.2 < faint[40:60, 70:90].mean() < 0.7 < bright[40:60, 70:90].mean()


def test_nothing_is_said_before_it_has_settled(tmp_path: Path) -> None:
    eye = engine(tmp_path, settle=10)
    for number in range(10):
        assert show(eye, put(road(number), 2.0, (4 * number, 30, 4 * number + 30, 60))).max() == 0
    assert show(eye, put(road(10), 2.0, (100, 30, 130, 60))).max() > 0


@pytest.mark.parametrize("light", [0.4, 0.7, 1.6])
def test_another_exposure_is_no_motion(tmp_path: Path, light: float) -> None:
    dark = settled(tmp_path)
    found = show(dark, put(road(50, light), 1.5))
    assert inside(found) > 0.9 and outside(found) < 0.01
    without = settled(tmp_path, exposure="false", shadow=1.0)
    assert outside(show(without, put(road(50, light), 1.5))) > 0.9


def test_shadow_is_no_motion_and_black_is(tmp_path: Path) -> None:
    eye = settled(tmp_path, shadow=0.4)
    assert show(eye, put(road(50), 0.6)).max() == 0
    assert inside(show(eye, put(road(51), 0.2))) > 0.9
    assert inside(show(settled(tmp_path, shadow=1.0), put(road(50), 0.6))) > 0.9


def test_what_stays_becomes_background_after_its_share_of_the_history(tmp_path: Path) -> None:
    eye = settled(tmp_path, pictures=300, history=100, share=0.7)
    stood = [inside(show(eye, put(road(300 + number), 1.8))) > 0.5 for number in range(80)]
    assert all(stood[:30]) and not any(stood[45:])  # -ln 0.7 * 100 = 36


def test_a_camera_that_was_moved_is_learned_anew(tmp_path: Path) -> None:
    eye = settled(tmp_path, flooded=5, exposure="false", shadow=1.0)
    elsewhere = [np.asarray(255 - road(number), np.uint8) for number in range(60)]
    assert [show(eye, one).max() > 0 for one in elsewhere[:5]] == [True] * 4 + [False]
    for one in elsewhere[5:40]:
        assert show(eye, one).max() == 0
    assert inside(show(eye, put(elsewhere[41], 0.3))) > 0.9


def test_without_a_new_picture_it_learns_nothing(tmp_path: Path) -> None:
    """A package is warmed with what lies in its input."""
    one, other = engine(tmp_path), engine(tmp_path)
    for _ in range(5):
        other.invoke()
    for number in range(30):
        picture = put(road(number), 2.0, (4 * number, 30, 4 * number + 20, 60))
        assert (show(one, picture) == show(other, picture)).all()
        before = other.output(0).copy()
        other.invoke()
        assert (other.output(0) == before).all()


@pytest.mark.parametrize(
    "text, said",
    [
        ("height: 8", "motion.yaml:1: 'height': expected greater than or equal to 16, found 8"),
        ("width: 160\nhistroy: 5", "motion.yaml:2: unknown key 'histroy'; did you mean 'history'?"),
        ("shadow: .nan", "motion.yaml:1: 'shadow': expected"),
        ("- 1", "expected 'key: value' lines"),
        ("a: [", "motion.yaml:1"),
        ("a: !!python/name:os.system x", "not allowed"),
    ],
)
def test_parameters_that_are_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "motion.yaml"
    path.write_text(text)
    with pytest.raises(EngineError, match="motion.yaml") as caught:
        Engine(path, 1)
    assert said in str(caught.value)


def test_it_runs_on_the_cpu_only(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not on 'cuda'"):
        Engine(tmp_path / "motion.yaml", 1, "cuda")
