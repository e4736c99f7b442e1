"""Many commands of the program in a short time: each runs in a fork of one process that has imported it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.shared import ROOT

SECONDS = 60  # then a command is ended by SIGALRM


class Ended(NamedTuple):
    """code: negative for a signal. megabytes: the most memory that it had."""

    arguments: list[str]
    code: int
    output: str
    errors: str
    megabytes: float


def run_all(commands: Sequence[Sequence[str]], folder: Path) -> list[Ended]:
    """Run `reflexd` with these arguments, one after the other, in this folder."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.forked", str(folder)],
        input=json.dumps(list(commands)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    return [Ended(*row) for row in json.loads(process.stdout)]


def _run(arguments: list[str]) -> Ended:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            _be_the_program(arguments)
        _, status, usage = os.wait4(pid, 0)
        texts = [os.pread(file.fileno(), 1 << 20, 0).decode("utf-8", "replace") for file in (output, errors)]
    return Ended(arguments, os.waitstatus_to_exitcode(status), texts[0], texts[1], usage.ru_maxrss / 1024)


def _be_the_program(arguments: list[str]) -> None:
    from agent.__main__ import main

    os.setsid()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = ["reflexd", *arguments]
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    import agent.cli
    import agent.config.load
    import agent.replay.cli
    import agent.view.cli  # noqa: F401

    os.chdir(sys.argv[1])
    print(json.dumps([_run(arguments) for arguments in json.load(sys.stdin)]))
