"""Paths of the real recordings and public models, a mark for tests that need them, and mistakes of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
PUBLIC = DATA / "models-public"
MOVENET, SSD = ROOT / "tests/data/movenet", ROOT / "tests/data/ssd"

needs_recordings = pytest.mark.skipif(
    not DATA.is_dir(), reason="../shared/data is not here: no recordings, no public models"
)


def mistakes(path: Path, text: str) -> list[str]:
    """The mistakes in a configuration of this name and text: a line each, without the name."""
    path.write_text(text)
    try:
        load_config(path)
    except ConfigError as error:
        return [mistake.removeprefix(f"{path}:") for mistake in error.mistakes]
    return []
