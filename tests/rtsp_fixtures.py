"""The real RTSP server of `reflexd bench io`, or why this machine has none."""

from __future__ import annotations

import pytest

from agent.benches.io.rtsp import RtspServer, reason

__all__ = ["RtspServer", "needs_rtsp_server"]

_REASON = reason()
needs_rtsp_server = pytest.mark.skipif(bool(_REASON), reason=_REASON or "here")
