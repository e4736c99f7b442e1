"""Other processes of this program: no code of the current folder in them; the first to end where memory is short.

Every process starts with it, and what it imports could still be code of that folder: so only what Python has loaded.
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# `python -m` would import from the current folder before anything else: a file named like a module, among downloads,
# would run. `-P` does not exist before Python 3.11, `-I` also drops PYTHONPATH, where a driver of one's own may be.
_START = (
    "import sys; sys.path[:] = [sys.argv[1], *(folder for folder in sys.path if folder)];"
    " from agent.isolated import drop_empty_entry; drop_empty_entry();"
    " sys.argv[1] in sys.path[1:] and sys.path.pop(0); del sys.argv[:2];"
    " import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
_OOM_SCORE = 500  # of -1000 to 1000; systemd gives the daemon -900, which its children would inherit


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this program as `python -m` does, but safely in any folder."""
    return [sys.executable, "-c", _START, _ROOT, module, *arguments]


def drop_empty_entry() -> None:
    """Of PYTHONPATH, where it is the current folder: from this process and its children."""
    value = os.environ.get("PYTHONPATH", "")
    entries = value.split(os.pathsep)
    named = [entry for entry in entries if entry]
    if value and len(named) < len(entries):
        _drop_current(keep={_ROOT, *map(os.path.abspath, named)})
        os.environ["PYTHONPATH"] = os.pathsep.join(named)


def _drop_current(keep: set[str]) -> None:
    try:
        current = os.getcwd()
    except OSError:  # it was removed
        current = ""
    sys.path[:] = [folder for folder in sys.path if folder and (folder != current or folder in keep)]


def sacrifice(pid: int) -> None:
    """Where memory runs out, the kernel ends this process first: it can be started again while lanes run."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(_OOM_SCORE))
    except OSError:
        pass  # it has ended already
