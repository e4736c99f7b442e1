"""The machine that a measurement ran on, in words."""

from __future__ import annotations

import os
import platform


def machine() -> str:
    """Processor, cores, kernel and Python: "AMD EPYC, 2 cores, Linux 6.18, Python 3.11.7"."""
    return f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def processor() -> str:
    """The name from /proc/cpuinfo; on arm64, which has none there, the architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
