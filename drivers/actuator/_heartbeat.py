"""A thread that shows a device that this process is alive."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Heartbeat(threading.Thread):
    """Calls `beat` at an interval, first after one, as long as the thread that made it lives.

    It dies and stops with its process. Where the maker's thread hangs in a driver's call, the lock of that driver holds
    `beat`; where it hangs elsewhere, the standby ends the process.
    """

    def __init__(self, beat: Callable[[], None], interval_s: float) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.beat = beat
        self.interval_s = interval_s
        self.maker = threading.current_thread()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(self.interval_s) and self.maker.is_alive():
            self.beat()

    def end(self) -> None:
        """A beat that has begun is not waited for: the driver's lock orders it before what follows."""
        self.ended.set()
