"""Where the real recordings are, and skipping where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
PUBLIC = DATA / "models-public"
MOVENET, SSD = ROOT / "tests/data/movenet", ROOT / "tests/data/ssd"

needs_recordings = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here: no recordings, no public models")
