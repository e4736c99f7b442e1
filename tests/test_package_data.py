"""What the program reads beside its code is installed with it."""

from __future__ import annotations

import configparser
import subprocess
from fnmatch import fnmatch

from tests.shared import ROOT

READ = (".yaml", ".html", ".js", ".css")  # by the program; others belong to documents


def test_every_file_that_the_program_reads_is_in_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = [pattern.strip() for pattern in setup["options.package_data"]["agent"].split(",")]
    listed = subprocess.run(["git", "ls-files", "agent"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name.removeprefix("agent/") for name in listed.splitlines() if name.endswith(READ)]
    assert "web/page/index.html" in files
    assert [name for name in files if not any(fnmatch(name, pattern) for pattern in patterns)] == []
