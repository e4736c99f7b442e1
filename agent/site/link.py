"""The site's link: a process beside the daemon that joins this box with the others. Whatever happens to it or to the
network, lanes run on as they would alone: agent/site/README.md.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import zenoh

from agent import site_keys
from agent.box import finishing, logs, private, realtime
from agent.box.signals import StopSignals
from agent.site import published, settings
from agent.site.once import Once
from agent.site.peer import Peer
from agent.site.receiver import Receiver
from agent.site.sender import Sender
from agent.site.session import open_session
from agent.site.settings import Settings
from agent.tapes.evidence_tape import WAKE, open_wake

log = logging.getLogger("reflexd.site")
PUBLISH_S = 1.0
RETRY_S = 2.0
KEYS_S = 60.0  # between two looks at the certificate's dates
SHUTDOWN_S = 2
CLOSE_S = 0.5  # closing a session may hang (zenoh 1.10)


class Link:
    """From the first session to the last: a reload that changes who this box is, or its peers, begins another one."""

    def __init__(self, given: Settings, stop: StopSignals) -> None:
        """Raises OSError where run_dir cannot be written."""
        self.settings = given
        self.reload_requested = False
        self._stop = stop
        self._once = Once("site")
        self._wake = open_wake(given.run_dir / WAKE)
        self.peers: dict[str, Peer] = {}
        self._looked = -KEYS_S

    def run(self) -> None:
        """Until asked to stop. Raises OSError where run_dir cannot be written."""
        while not self._stop.wait(0):
            self.peers = {box: Peer(box) for box in self.settings.boxes}
            self.peers[self.settings.node] = Peer(self.settings.node, own=True)
            session = self._open()
            if session:
                self._serve(session)
            else:
                self._publish({})
                self._pause()
        (self.settings.run_dir / published.NAME).unlink(missing_ok=True)

    def _open(self) -> zenoh.Session | None:
        """None, said once, while the keys are wrong or an address cannot be listened at: tried again."""
        self._check_dates()
        keys = self.settings.keys
        mistake = site_keys.mistake(Path(keys), self.settings.node) if keys else ""
        if not mistake:
            try:
                session = open_session(self.settings)
            except zenoh.ZError as error:
                mistake = f"cannot listen at {', '.join(self.settings.listen) or 'any address'}: {_first(error)}"
            else:
                self._once.ends("closed")
                log.info("site %s: this box is %s", self.settings.site, self.settings.node)
                return session
        self._once.happens("closed", f"this box is alone: {mistake}", time.monotonic())
        return None

    def _check_dates(self) -> None:
        """A clock of 1970 or 2099, or a certificate that has ended: others refuse it, and nothing else says why."""
        now = time.monotonic()
        if not self.settings.keys or now - self._looked < KEYS_S:
            return
        self._looked = now
        with suppress(OSError, ValueError):  # site_keys.mistake says which
            reason = site_keys.outdated(site_keys.read(Path(self.settings.keys)))
            if reason:
                self._once.happens("dates", f"{reason}: set the clock, or make new keys: 'reflexd keys --site'", now)
            else:
                self._once.ends("dates")

    def _pause(self) -> None:
        end = time.monotonic() + RETRY_S
        while time.monotonic() < end and not self._stop.wait(0.1) and not self._reload():
            pass

    def _serve(self, session: zenoh.Session) -> None:
        """Until the end, or until another session is needed."""
        identity, number = self.settings.identity, secrets.randbits(62) | 1
        token = session.liveliness().declare_token(self.settings.key(self.settings.node, "alive"))
        try:
            while not self._stop.wait(0) and self.settings.identity == identity:
                self._carry(session, number)
        finally:
            _close(session, token)

    def _carry(self, session: zenoh.Session, number: int) -> None:
        """What goes over the session, until the end, or until the daemon has given other settings."""
        receiver = Receiver(session, self.settings, self.peers)
        sender = Sender(session, self.settings, self.peers, number)
        end = threading.Event()
        reporting = threading.Thread(target=self._report_until, args=(end, sender), daemon=True)
        reporting.start()
        try:
            while not self._stop.wait(0) and not self._reload():
                if self._woken(sender.send_due()):
                    sender.send_changes()
        finally:
            end.set()
            reporting.join()
            sender.close()
            receiver.close()

    def _report_until(self, end: threading.Event, sender: Sender) -> None:
        """On a thread: it reads ledgers and writes a file, for which no evidence waits."""
        while not end.wait(PUBLISH_S):
            self._check_dates()
            try:
                self._publish(sender.report())
            except OSError as error:
                self._once.happens("report", f"{error.filename}: {error.strerror}: nobody sees it", time.monotonic())
            else:
                self._once.ends("report")

    def _woken(self, due: int) -> bool:
        """Wait until a lane has something new, or until then; True where one has."""
        wait_s = max(0.0, (due - time.monotonic_ns()) / 1e9)
        if not select.select([self._wake], [], [], wait_s)[0]:
            return False
        with suppress(BlockingIOError):
            os.read(self._wake, 65_536)
        return True

    def _publish(self, own: dict[str, Any]) -> None:
        for peer in self.peers.values():
            peer.check()
        boxes = {name: peer.report() for name, peer in self.peers.items() if not peer.own}
        twins = self.peers[self.settings.node].once.messages
        content = {
            "site": self.settings.site,
            "node": self.settings.node,
            "version": self.settings.version,
            "linked": bool(own),
            "troubles": [*self._once.messages, *twins],
            "boxes": boxes,
            **own,
        }
        published.write(self.settings.run_dir, content)

    def _reload(self) -> bool:
        """True where the daemon has given other settings."""
        if not self.reload_requested:
            return False
        self.reload_requested = False
        try:
            given = settings.read(self.settings.run_dir)
        except (OSError, ValueError) as error:
            log.warning("the site goes on with its previous settings: %s", error)
            return False
        changed, self.settings = given != self.settings, given
        return changed


def _close(session: zenoh.Session, token: zenoh.LivelinessToken) -> None:
    """On a thread that is left behind where it hangs."""

    def close() -> None:
        with suppress(zenoh.ZError):
            token.undeclare()  # type: ignore[no-untyped-call]
            session.close()  # type: ignore[no-untyped-call]

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(CLOSE_S)
    if closing.is_alive():
        log.debug("the session does not close; it is left behind")


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["unknown"])[0][:200]


def prepare() -> StopSignals:
    """As `finishing.prepare`, at the priority of an ordinary program: what it carries is late after milliseconds."""
    os.umask(private.OTHERS)
    sys.setswitchinterval(realtime.SWITCH_S)  # evidence that arrives would wait 5 ms for a thread that computes
    stop = StopSignals(deadline_s=SHUTDOWN_S)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    realtime.die_with_parent()
    return stop


def _end(bug: threading.ExceptHookArgs) -> None:
    """A bug on a thread: the daemon starts another link, which hears everything again."""
    log.error("a bug in the site's link", exc_info=bug.exc_value)
    logging.shutdown()
    os._exit(1)


def main() -> None:
    """The link's process, which the daemon starts: `python -m agent.site.link RUN_DIR`."""
    run_dir = Path(sys.argv[1])
    stop = prepare()
    logs.start(logging.INFO)
    threading.excepthook = _end
    try:
        link = Link(settings.read(run_dir), stop)
        finishing.on_reload(lambda: setattr(link, "reload_requested", True))
        link.run()
    except OSError as error:
        sys.exit(f"site: {error.filename or run_dir}: {error.strerror or error}")
    except ValueError as error:
        sys.exit(f"site: {error}")
    logging.shutdown()
    os._exit(0)  # a session that hangs would hold the process


if __name__ == "__main__":
    main()
