"""What the drivers of an OPC UA server have in common."""

from __future__ import annotations

from drivers.links.opcua.session import Session


class WithSession:
    """A driver that has a session while it is open."""

    session: Session | None = None

    def close(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()
