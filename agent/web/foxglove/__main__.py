"""`python -m agent.web.foxglove FILE`: lanes, decisions and ledgers for Foxglove, a child process of the daemon.

The protocol has neither token nor TLS here, so it listens on this box alone: agent/web/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from agent.box import background
from agent.web.description import Description
from agent.web.foxglove.library import MISSING
from agent.web.programs import Programs

log = logging.getLogger("reflexd.web")


async def run(path: Path) -> int:
    """Until it is ended. path: of the configuration."""
    try:
        from agent.web.foxglove.box import serve
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "foxglove":
            raise
        log.error("%s", MISSING)
        return 2
    programs = Programs()
    description = Description(path, programs)
    await description.read_valid()
    try:
        await serve(path, description)
    except RuntimeError as error:  # of the SDK
        log.error("Foxglove is not served: %s", error)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    options = parser.parse_args()
    background.settle()
    return asyncio.run(run(options.path))


if __name__ == "__main__":
    sys.exit(main())
