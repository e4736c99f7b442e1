"""The state of this service for systemd: sd_notify(3) without its library."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Send e.g. READY=1; does nothing outside systemd, and never waits for it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as unix:
        try:
            unix.sendto(state.encode(), address)
        except OSError:
            pass  # the watchdog of systemd notices a message that is missing
