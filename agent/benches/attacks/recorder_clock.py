"""Recordings and clips of the past, of 1970 and of 2099 lie in the folders: is what is recorded now kept?"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from agent.benches.attacks._recorded import ARM, DEVIATION, Box, configuration, open_files, running
from agent.benches.attacks.outcome import Outcome

NAME = "recorder_clock"
RUNS_S = 4.0
RECORDER = {"file_mb": 0.1, "files": 3, "events": {"rules": ["hit"], "before_s": 0.2, "after_s": 0.2, "files": 3}}
OTHERS = ("notes.txt", "box-2-20000101T000000.000.mcap", "box-20000101T000000.000.mcap.bak", "other.mcap")


def measure(times: int) -> Outcome:
    """Each time another mixture of names; a failure: an open file deleted, a newest file that is not, others' gone."""
    random = np.random.default_rng(1)
    failures: list[str] = []
    ended = 0
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="reflexd-clock-") as name:
            folder = Path(name)
            old = [*_leave(folder / "state/recordings", "", random), *_leave(folder / "state/events", "-hit", random)]
            with running(folder, configuration(folder, {"it": ARM}, RECORDER, {"any": [DEVIATION]})) as box:
                failures += _watch(box)
                ended += box.daemon.poll() is not None
            failures += _left(box, old)
    return Outcome(NAME, times, ended, 0, (), 0.0, failures)


def _leave(folder: Path, rule: str, random: np.random.Generator) -> list[Path]:
    """Five files of ours, of years right and wrong, and what is not ours."""
    folder.mkdir(parents=True)
    years = random.choice([1970, 1980, 2026, 2038, 2099, 9999], 5)
    counted = random.integers(0, 2)
    names = [
        f"box-{f'{number + 1:08d}_' if counted else ''}{year}0101T00000{number}{rule or '.000'}.mcap"
        for number, year in enumerate(years)
    ]
    for each in (*names, *OTHERS):
        (folder / each).write_bytes(b"old")
    return [folder / each for each in names]


def _watch(box: Box) -> list[str]:
    end = time.monotonic() + RUNS_S
    while time.monotonic() < end:
        deleted = [link for link in open_files(box.recorder()) if ".mcap" in link and link.endswith(" (deleted)")]
        if deleted:
            return [f"written and deleted: {deleted[0]}"]
        time.sleep(0.02)
    return []


def _left(box: Box, old: list[Path]) -> list[str]:
    """After the end."""
    failures: list[str] = []
    for kind in ("recordings", "events"):
        folder = box.folder / f"state/{kind}"
        failures += [f"{kind}/{name} is gone" for name in OTHERS if not (folder / name).exists()]
        ours = [path for path in folder.iterdir() if path.name not in OTHERS]
        if len(ours) != RECORDER["files"]:
            failures.append(f"{len(ours)} {kind}")
        new = sorted(int(path.name.split("-")[1].split("_")[0]) for path in ours if path not in old)
        if not new:
            failures.append(f"{kind}: nothing new is kept")
        elif new != list(range(new[-1] - len(new) + 1, new[-1] + 1)):
            failures.append(f"{kind}: a new one is deleted, an older one is not")
    newest = max((message["sequence"] for each in box.contents() for _, message in each.messages), default=0)
    sampled = box.counts()["samples"]
    return failures if newest >= sampled - 2 else [*failures, f"sample {newest} of {sampled} is the newest recorded"]
