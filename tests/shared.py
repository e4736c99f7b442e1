"""Paths of the real recordings and public models, a mark for tests that need them, and mistakes of a configuration."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
PUBLIC = DATA / "models-public"
SSD, NANODET = (ROOT / "tests/data" / name for name in ("ssd", "nanodet"))
MOVENET = ROOT / "models/movenet"

needs_recordings = pytest.mark.skipif(
    not DATA.is_dir(), reason="../shared/data is not here: no recordings, no public models"
)


def _add_weights(folder: Path) -> None:
    """The public model's file into its package, where it is missing: git does not have it."""
    (name,) = re.findall("^file: (.*)$", (folder / "manifest.yaml").read_text(), re.MULTILINE)
    if (PUBLIC / name).is_file() and not (folder / name).exists():
        copy = folder / f"{name}.{os.getpid()}"
        shutil.copyfile(PUBLIC / name, copy)
        os.replace(copy, folder / name)  # other test processes do the same at this moment


for _folder in (SSD, NANODET):
    _add_weights(_folder)


def stretched_movenet(folder: Path) -> Path:
    """A copy that stretches pictures, as the published figures are."""
    copy = folder / "stretched"
    shutil.copytree(MOVENET, copy)
    manifest = copy / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("fit: letterbox", "fit: stretch"))
    return copy


def mistakes(path: Path, text: str) -> list[str]:
    """The mistakes in a configuration of this name and text: a line each, without the name."""
    path.write_text(text)
    try:
        load_config(path)
    except ConfigError as error:
        return [mistake.removeprefix(f"{path}:") for mistake in error.mistakes]
    return []
