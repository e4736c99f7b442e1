"""Evidence of other boxes of the site, as the site's link hands it to this lane: agent/site/README.md."""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from agent.data import Sample
from drivers.base import DeviceFault, DeviceMissing
from drivers.options import SourceOptions
from drivers.remote import RemoteEvidence, pack
from drivers.sensor import _site_datagram as datagram
from drivers.sensor._site_datagram import Inference


class Options(SourceOptions):
    """Which lanes of which boxes."""

    sources: tuple[str, ...] = Field(
        alias="from", min_length=1, max_length=64, description="BOX/LANE of lanes on other boxes"
    )

    @field_validator("sources")
    @classmethod
    def _with_a_lane(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            box, slash, lane = source.partition("/")
            if not (box and slash and lane) or "/" in lane:
                raise ValueError(f"expected BOX/LANE, found '{source[:70]}'")
        return tuple(dict.fromkeys(sources))


class Driver(RemoteEvidence):
    """A sample for each inference of any of the lanes: what all of them have found, as of the newest.

    What a lane found counts until it finds something else, at most for timeout_ms.
    """

    def open(self) -> None:
        if self.path is None:
            raise DeviceFault("evidence of other boxes reaches only lanes of a daemon")
        self._newest: dict[str, Inference] = {}
        self._sequence = -1
        self._timeout_ns = int(self.options.timeout_ms * 1e6)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            self._socket.bind(str(self.path))
            os.chmod(self.path, 0o600)
        except OSError as error:
            self.close()
            raise DeviceMissing(
                f"{self.path}: {error.strerror or error}: is run_dir writable, and its path short?"
            ) from error

    def read(self, wait_s: float) -> Sample | None:
        if not select.select([self._socket], [], [], wait_s)[0]:
            return None
        arrived = self._arrived()
        if not arrived:
            return None
        for inference in arrived:
            self._newest[inference.source] = inference
        self._sequence += 1
        t_capture = max(inference.t_capture for inference in self._newest.values())
        payload = np.frombuffer(pack(self._found(t_capture)), np.uint8)
        return Sample(self.name, self._sequence, t_capture, payload)

    def _arrived(self) -> list[Inference]:
        """All that waits: of each lane only the newest counts, and none older than what is known."""
        arrived: list[Inference] = []
        with suppress(BlockingIOError):
            while len(arrived) < 64:
                inference = datagram.unpack(self._socket.recv(datagram.MAX_BYTES))
                if inference and inference.source in self.options.sources:
                    arrived.append(inference)
        return arrived

    def _found(self, now: int) -> list[Any]:
        """Of all lanes that still count, the best first; each says in its mark where it was found."""
        found = [
            (label, score, box, f"{inference.source} {mark}".strip())
            for inference in self._newest.values()
            if now - inference.t_capture <= self._timeout_ns
            for label, score, box, mark in inference.found
        ]
        return sorted(found, key=lambda each: -each[1])

    def close(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()
        if self.path:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
