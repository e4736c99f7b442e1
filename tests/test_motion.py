"""The background model: foreground, exposure, shadow and a camera that was moved."""

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


def draw(picture: Array, level: float, box: tuple[int, int, int, int] = (60, 30, 100, 70)) -> Array:
    """An object of `level` times the street's brightness; box: left, top, right, bottom."""
    left, top, right, bottom = box
    picture[top:bottom, left:right] = np.clip(picture[top:bottom, left:right] * level, 0, 255)
    return picture


def foreground(model: Engine, picture: Array) -> Array:
    model.input(0)[0, :, :, 0] = picture
    model.invoke()
    return model.real(0)[0, :, :, 0].copy()


def settled(folder: Path, pictures: int = 40, **parameters: Any) -> Engine:
    model = engine(folder, **parameters)
    for number in range(pictures):
        foreground(model, road(number))
    return model


def inside(mask: Array) -> float:
    return float((mask[32:68, 62:98] > 0).mean())


def outside(mask: Array) -> float:
    elsewhere = np.ones(mask.shape, bool)
    elsewhere[22:78, 52:108] = False
    return float((mask[elsewhere] > 0).mean())


def test_an_object_that_appears_is_foreground_by_its_contrast(tmp_path: Path) -> None:
    model = settled(tmp_path)
    assert foreground(model, road(50)).max() == 0
    faint, bright = foreground(model, draw(road(51), 1.3)), foreground(model, draw(road(52), 2.0))
    assert inside(bright) == 1 and outside(bright) == 0
    assert inside(faint) > 0.8 and faint.max() <= 1
    assert 0.2 < faint[40:60, 70:90].mean() < 0.7 < bright[40:60, 70:90].mean()


def test_nothing_is_foreground_before_the_model_has_settled(tmp_path: Path) -> None:
    model = engine(tmp_path, settle=10)
    for number in range(10):
        assert foreground(model, draw(road(number), 2.0, (4 * number, 30, 4 * number + 30, 60))).max() == 0
    assert foreground(model, draw(road(10), 2.0, (100, 30, 130, 60))).max() > 0


@pytest.mark.parametrize("light", [0.4, 0.7, 1.6])
def test_another_exposure_is_no_motion(tmp_path: Path, light: float) -> None:
    dark = settled(tmp_path)
    mask = foreground(dark, draw(road(50, light), 1.5))
    assert inside(mask) > 0.9 and outside(mask) < 0.01
    without = settled(tmp_path, exposure="false", shadow=1.0)
    assert outside(foreground(without, draw(road(50, light), 1.5))) > 0.9


def test_a_shadow_is_no_motion_but_black_is(tmp_path: Path) -> None:
    model = settled(tmp_path, shadow=0.4)
    assert foreground(model, draw(road(50), 0.6)).max() == 0
    assert inside(foreground(model, draw(road(51), 0.2))) > 0.9
    assert inside(foreground(settled(tmp_path, shadow=1.0), draw(road(50), 0.6))) > 0.9


def test_an_object_that_stays_becomes_background_after_its_share_of_the_history(tmp_path: Path) -> None:
    model = settled(tmp_path, pictures=300, history=100, share=0.7)
    stood = [inside(foreground(model, draw(road(300 + number), 1.8))) > 0.5 for number in range(80)]
    assert all(stood[:30]) and not any(stood[45:])  # -ln 0.7 * 100 = 36


def test_after_a_camera_was_moved_the_background_is_learned_again(tmp_path: Path) -> None:
    model = settled(tmp_path, flooded=5, exposure="false", shadow=1.0)
    elsewhere = [np.asarray(255 - road(number), np.uint8) for number in range(60)]
    assert [foreground(model, picture).max() > 0 for picture in elsewhere[:5]] == [True] * 4 + [False]
    for picture in elsewhere[5:40]:
        assert foreground(model, picture).max() == 0
    assert inside(foreground(model, draw(elsewhere[41], 0.3))) > 0.9


def test_without_a_new_picture_the_model_learns_nothing(tmp_path: Path) -> None:
    """The warm-up of a package runs on whatever its input contains."""
    plain, warmed = engine(tmp_path), engine(tmp_path)
    for _ in range(5):
        warmed.invoke()
    for number in range(30):
        picture = draw(road(number), 2.0, (4 * number, 30, 4 * number + 20, 60))
        assert (foreground(plain, picture) == foreground(warmed, picture)).all()
        before = warmed.output(0).copy()
        warmed.invoke()
        assert (warmed.output(0) == before).all()


@pytest.mark.parametrize(
    "text, message",
    [
        ("height: 8", "motion.yaml:1: 'height': expected greater than or equal to 16, found 8"),
        ("width: 160\nhistroy: 5", "motion.yaml:2: unknown key 'histroy'; did you mean 'history'?"),
        ("shadow: .nan", "motion.yaml:1: 'shadow': expected"),
        ("- 1", "expected 'key: value' lines"),
        ("a: [", "motion.yaml:1"),
        ("a: !!python/name:os.system x", "not allowed"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "motion.yaml"
    path.write_text(text)
    with pytest.raises(EngineError, match="motion.yaml") as caught:
        Engine(path, 1)
    assert message in str(caught.value)


def test_it_runs_on_the_cpu_only(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not on 'cuda'"):
        Engine(tmp_path / "motion.yaml", 1, "cuda")
