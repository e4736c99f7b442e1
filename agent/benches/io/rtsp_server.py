"""A real RTSP server: GStreamer's own, run by the system's Python, which has the library's binding.

    /usr/bin/python3 agent/benches/io/rtsp_server.py '{"port": 8554, "codec": "h264"}'

Writes "ready" once it listens. The picture is the SMPTE test card, 320x240, 25 a second, a key frame every second.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

gi: Any = import_module("gi")  # of the system's Python; no package of ours
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
GLib, Gst, GstRtspServer = (import_module(f"gi.repository.{name}") for name in ("GLib", "Gst", "GstRtspServer"))

VIDEO = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1 ! "
SETTINGS = "tune=zerolatency speed-preset=ultrafast key-int-max=25"
ENCODED = {
    "h264": f"x264enc {SETTINGS} ! rtph264pay name=pay0 pt=96",
    "h265": f"x265enc {SETTINGS} log-level=none ! rtph265pay name=pay0 pt=96",
}
AUDIO = " audiotestsrc is-live=true ! audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay1 pt=8"
METHODS = {"basic": 1, "digest": 2}  # GstRTSPAuthMethod


def protect(server: Any, factory: Any, method: str, login: str) -> None:
    """login: user:password."""
    user, _, password = login.partition(":")
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    auth.set_supported_methods(METHODS[method])
    token.set_string("media.factory.role", "viewer")
    if method == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.add_digest(user, password, token)
    server.set_auth(auth)
    allowed = GstRtspServer.RTSPPermissions()
    for permission in ("access", "construct"):
        allowed.add_permission_for_role("viewer", f"media.factory.{permission}", True)
    factory.set_permissions(allowed)


def main(settings: dict[str, Any]) -> None:
    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(str(settings["port"]))
    factory.set_launch(f"( {VIDEO}{ENCODED[settings['codec']]}{AUDIO if settings.get('audio') else ''} )")
    factory.set_shared(True)
    if settings.get("login"):
        protect(server, factory, settings["method"], settings["login"])
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {settings['port']} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
