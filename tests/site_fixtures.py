"""Boxes of a site on this machine: links in processes of their own, certificates, and strangers that try to join."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.benches.programs import free_port
from agent.commands import wire
from agent.data import Box, Evidence
from agent.isolated import python
from agent.site import make_keys, published, settings
from agent.site.settings import Settings
from agent.tapes.evidence_tape import SUFFIX, WAKE, EvidenceTape
from tests.waiting import until

pytest.importorskip("zenoh", reason="eclipse-zenoh is not installed: scripts/setup site")
import zenoh  # noqa: E402 - only where it is installed

SITE = "hall"
HAND = Evidence("cam", "hand", 0.9, 0, Box(0.1, 0.2, 0.3, 0.4), "near")


class SiteBox:
    """One box: its run_dir, its settings, its link in a process."""

    def __init__(self, folder: Path, name: str, others: list[str], keys: Path | None, **changes: Any) -> None:
        self.name, self.run_dir = name, folder / f"run-{name}"
        self.run_dir.mkdir(exist_ok=True)
        self.log = folder / f"{name}.log"
        kind = "tls" if keys else "tcp"
        self.address = f"{kind}/127.0.0.1:{free_port()}"
        self.settings = Settings(
            node=name,
            run_dir=self.run_dir,
            site=SITE,
            boxes=others,
            listen=[self.address],
            peers=[],
            discovery=False,
            keys=str(keys or ""),
            lanes=["cam"],
            regions={},
            models={"person-coarse": "ab" * 32},
            model_of={},
            version="0.2.0",
        )._replace(**changes)
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []
        self._tape: EvidenceTape | None = None

    def start(self) -> None:
        settings.write(self.settings)
        with open(self.log, "ab") as file:
            command = [*self.prefix, *python("agent.site.link", str(self.run_dir))]
            self.process = subprocess.Popen(command, stdout=file, stderr=file)

    def change(self, **changes: Any) -> None:
        """As a reload of the daemon."""
        assert self.process
        self.settings = self.settings._replace(**changes)
        settings.write(self.settings)
        self.process.send_signal(signal.SIGHUP)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        return code

    @property
    def tape(self) -> EvidenceTape:
        """Of its lane `cam`."""
        self._tape = self._tape or EvidenceTape(self.run_dir / f"cam{SUFFIX}", self.run_dir / WAKE)
        return self._tape

    def show(self, *evidence: Evidence) -> int:
        """As its lane does after an inference; t_capture."""
        now = time.monotonic_ns()
        self.tape.write(now, evidence)
        return now

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def lines(self, part: str) -> list[str]:
        return [line for line in self.text.splitlines() if part in line]

    def report(self) -> dict[str, Any]:
        return published.read(self.run_dir)

    def other(self, name: str) -> dict[str, Any]:
        return dict(self.report().get("boxes", {}).get(name, {"state": "unknown", "troubles": []}))

    def sees(self, name: str, state: str = "there") -> None:
        until(lambda: self.other(name)["state"] == state, lambda: f"{self.name} sees {name} {state}:\n{self.text}")

    def wait_for(self, part: str, times: int = 1) -> str:
        until(lambda: len(self.lines(part)) >= times, lambda: f"{times} lines with '{part}' in:\n{self.text}")
        return self.lines(part)[-1]


class SiteMaker:
    """Boxes with keys of one authority; each is stopped at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = make_keys.Authority(folder / "keys")
        self.boxes: list[SiteBox] = []

    def box(self, name: str, others: list[str], **changes: Any) -> SiteBox:
        keys = self.folder / "keys" / name
        if not keys.exists():
            self.authority.make_box(name)
        box = SiteBox(self.folder, name, others, keys, **changes)
        self.boxes.append(box)
        return box

    def pair(self, **changes: Any) -> tuple[SiteBox, SiteBox]:
        """Two that see each other; b names a."""
        a = self.box("a", ["b"], **changes)
        b = self.box("b", ["a"], peers=[a.address])
        for box in (a, b):
            box.start()
        for box, other in ((a, "b"), (b, "a")):
            box.sees(other)
        return a, b

    def close(self) -> None:
        for box in self.boxes:
            if box.process and box.process.poll() is None:
                box.process.send_signal(signal.SIGCONT)
                box.stop(signal.SIGKILL)


@contextmanager
def site_of(folder: Path) -> Iterator[SiteMaker]:
    maker = SiteMaker(folder)
    try:
        yield maker
    finally:
        maker.close()


@contextmanager
def session_of(box: SiteBox, **changes: Any) -> Iterator[zenoh.Session]:
    """A Zenoh session with the keys of a box, that connects to others as its link would."""
    from agent.site.session import open_session

    session = open_session(box.settings._replace(**changes))
    try:
        yield session
    finally:
        session.close()


def newest_of(session: zenoh.Session, key: str) -> Callable[[], list[bytes]]:
    """What has arrived under a key so far."""
    arrived: list[bytes] = []

    def take(sample: zenoh.Sample) -> None:
        arrived.append(sample.payload.to_bytes())

    session.declare_subscriber(key, take, allowed_origin=zenoh.Locality.REMOTE)
    return lambda: arrived


CLOCK = wire.clock_id()
