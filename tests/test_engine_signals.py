"""Engines that are gone leave every thread able to take a signal: what a library set up for them must not be missed."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from agent.packages.package import BUNDLED
from tests.shared import ROOT

MODELS = {
    "litert": BUNDLED / "person-coarse" / "person-coarse.tflite",
    "openvino": BUNDLED / "person-coarse" / "person-coarse.tflite",
}
PROGRAM = """
import gc, importlib, os, pathlib, signal, sys, threading
taken = []
signal.signal(signal.SIGUSR1, lambda *_: taken.append(1))
make = importlib.import_module("agent.backends." + sys.argv[1]).Engine
path, way = pathlib.Path(sys.argv[2]), sys.argv[3]
engines = [make(path, 1), make(path, 1)]

def drop():
    while engines:
        engines.pop(0)  # the first one first: as lanes are reloaded
        gc.collect()

if way == "here":
    drop()
else:
    thread = threading.Thread(target=drop)  # as a lane's thread does that ends
    thread.start()
    thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
print("taken", len(taken))
"""


@pytest.mark.parametrize("way", ["here", "on a lane's thread"])
@pytest.mark.parametrize("backend", MODELS)
def test_a_signal_is_taken_after_engines_are_gone(backend: str, way: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    command = [sys.executable, "-c", PROGRAM, backend, str(MODELS[backend]), way]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode != -signal.SIGSEGV, "the kernel found no stack for the signal"
    assert ended.stdout == "taken 1\n", ended.stderr
