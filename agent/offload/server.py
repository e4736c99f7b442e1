"""The process that computes for other boxes, a child of the daemon: `python -m agent.offload.server RUN_DIR`.

It has engines of its own, never takes the lanes' GIL, and runs at nice 10, its worker at SCHED_IDLE.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from pathlib import Path

from agent import web_keys
from agent.box import background
from agent.endpoints import is_loopback
from agent.errors import PackageError
from agent.http_server import serve
from agent.offload import settings
from agent.offload.busy import BusyMeter
from agent.offload.endpoint import Endpoint
from agent.offload.served import Admission, Served, ServedModel
from agent.offload.settings import ServeSettings
from agent.packages import package

log = logging.getLogger("reflexd.offload")
MAX_CONNECTIONS = 32


def opened(given: ServeSettings) -> Served:
    """Raises PackageError, OSError."""
    models = {}
    for name, folder in given.models.items():
        try:
            models[name] = ServedModel(name, package.open_package(Path(folder)))
        except PackageError as error:
            log.error("model %s is not served: %s", name, error)
    if not models:
        raise PackageError("none of the models can be served: see above")
    return Served(models, BusyMeter(without_own=True), Admission(given.busy, given.queue))


def endpoint(given: ServeSettings, served: Served) -> tuple[Endpoint, ssl.SSLContext | None]:
    """Raises OSError, ValueError, ssl.SSLError: keys that are missing or unusable."""
    folder = Path(given.keys) if given.keys else None
    if folder is None and not is_loopback(given.host.strip("[]")):
        raise ValueError(f"'{given.host}' can be reached from the network: set offload.serve.keys")
    token = web_keys.read_token(folder) if folder else ""
    return Endpoint(served, token), web_keys.tls(folder) if folder else None


async def run(run_dir: Path) -> int:
    """Until it is ended."""
    try:
        given = settings.read_serve(run_dir)
        served = opened(given)
        made, tls = endpoint(given, served)
    except (OSError, ValueError, PackageError) as error:
        log.error("nothing is computed for other boxes: %s", error)
        return 2
    scheme = "https" if tls else "http"
    log.info("computes %s for other boxes at %s://%s:%s", ", ".join(served.named), scheme, given.host, given.port)
    await serve(made.application(), given.host, given.port, log, MAX_CONNECTIONS, tls)
    return 0


def main() -> int:
    background.settle()
    return asyncio.run(run(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
