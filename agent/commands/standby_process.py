"""The host's end of its standby: starts it, restarts it when it dies or hangs, releases it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from agent.box.signals import StopSignal
from agent.commands.beats import ENDED, LOOKED, Beats
from agent.commands.standby import Device, Setup

log = logging.getLogger("reflexd.actuate")

READY_S = 10.0  # then devices move without it: on a box that is so slow, a host that does not serve is worse
START_S = 60.0
HANGS_NS = 1_000_000_000  # it looks every 10 ms
RESTART_S = 1.0
SETTLED_S = 5.0
END_S = 1.0

# The same modules as here, and none that happens to lie in the working directory.
PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from agent.commands.standby import main; main()"


class StandbyProcess:
    """One process at a time. Without it, devices are only as safe as their host."""

    def __init__(self, devices: Sequence[Device], beats: Beats, use_realtime: bool, watchdog: str) -> None:
        """watchdog: path of a hardware watchdog, or empty."""
        self.beats = beats
        self.host_fd = os.pidfd_open(os.getpid())
        self.setup = Setup(os.getpid(), self.host_fd, beats.fd, list(devices), use_realtime, watchdog)
        self.process: subprocess.Popen[bytes] | None = None
        self.kept: tuple[int, ...] = ()
        self.started_at = 0.0
        self.said = False

    def start(self, keep: Sequence[int]) -> None:
        """keep: descriptors of locks, which then hold until the standby has ended, too."""
        self.kept = tuple(keep)
        self._start()

    def _start(self) -> None:
        self.beats.words[LOOKED] = 0
        self.started_at = time.monotonic()
        # Every signal stays blocked there: it ends with its host, or by SIGKILL.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(self.host_fd, self.beats.fd, *self.kept),
                start_new_session=True,
            )
        except OSError as error:
            self._complain(f"cannot start: {error.strerror}: tried again")
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it has died; `look` finds that
            self.process.stdin.write(self.setup.encoded())
            self.process.stdin.close()

    @property
    def ready(self) -> bool:
        return self.beats.words[LOOKED] != 0

    def wait_ready(self, stop: StopSignal) -> None:
        """Until it watches, or cannot be started, or a request to stop."""
        end = time.monotonic() + READY_S
        while not self.ready and not self.said and not stop.wait(0.01):
            self.look()
            if time.monotonic() > end:
                self._complain(f"does not watch after {READY_S:g} s")

    def look(self) -> None:
        """Restart it where it has died or hangs; said once, until it has run for a while."""
        lasted = time.monotonic() - self.started_at
        if self.process is None:
            if lasted > RESTART_S:
                self._start()
            return
        code = self.process.poll()
        if code is None and self._hangs(lasted):
            self.process.kill()
            self._complain("hung: starting another")
        elif code is not None:
            self.process = None
            self._complain(f"ended, exit code {code}: starting another")
        elif self.said and self.ready and lasted > SETTLED_S:
            self._settle()

    def _hangs(self, lasted_s: float) -> bool:
        looked = self.beats.words[LOOKED]
        return time.monotonic_ns() - looked > HANGS_NS if looked else lasted_s > START_S

    def _complain(self, text: str) -> None:
        if not self.said:
            log.error("the standby %s; until one watches, a host that dies leaves its devices as they are", text)
        self.said = True

    def _settle(self) -> None:
        log.warning("the standby watches again")
        self.said = False

    def stop(self, in_order: bool) -> None:
        """in_order: every device is safe, and nothing moves it any more. Otherwise the standby acts once we end."""
        self.beats.words[ENDED] = int(in_order)
        if in_order and self.process:
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        os.close(self.host_fd)
