"""From setup.cfg and pip's installation report to a requirements file with hashes. Used by the script `pin`."""

from __future__ import annotations

import configparser
import json
import sys
from typing import Any

EXTRAS = ("top", "update", "site")  # what an installed box needs beside the daemon


def required_packages(path: str) -> list[str]:
    """The requirements that an image installs."""
    setup = configparser.ConfigParser()
    setup.read(path, encoding="utf-8")
    texts = [setup["options"]["install_requires"]]
    texts += [setup["options.extras_require"].get(extra, "") for extra in EXTRAS]
    return [line.strip() for text in texts for line in text.splitlines() if line.strip()]


def _pinned(report: dict[str, Any]) -> list[str]:
    """name==version --hash=sha256:..., in order of name."""
    lines = []
    for package in report["install"]:
        name, version = package["metadata"]["name"].lower().replace("_", "-"), package["metadata"]["version"]
        sha256 = package["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={version} --hash=sha256:{sha256}")
    return sorted(lines)


def main() -> None:
    if sys.argv[1] == "--required":
        print("\n".join(required_packages(sys.argv[2])))
        return
    print(f"# Written by scripts/image.d/pin {sys.argv[1]}")
    print("\n".join(_pinned(json.load(sys.stdin))))


if __name__ == "__main__":
    main()
