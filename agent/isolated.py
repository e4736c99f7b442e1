"""Other processes of this program: no code of the current folder in them; the first to end where memory is short."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# `python -m` would import from the current folder before anything else: a file named like a module, among downloads,
# would run. `-P` does not exist before Python 3.11, `-I` also drops PYTHONPATH, where a driver of one's own may be.
_START = (
    "import sys; sys.path[:] = [folder for folder in sys.path if folder];"
    " sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); del sys.argv[:2];"
    " import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
_OOM_SCORE = 500  # of -1000 to 1000; systemd gives the daemon -900, which its children would inherit


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this program as `python -m` does, but safely in any folder."""
    return [sys.executable, "-c", _START, str(_ROOT), module, *arguments]


def sacrifice(pid: int) -> None:
    """Where memory runs out, the kernel ends this process first: it can be started again while lanes run."""
    with suppress(OSError):  # it has ended already
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
