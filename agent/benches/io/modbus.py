"""The counterpart of the Modbus drivers: pymodbus' own server in a child process, over TCP and over RTU.

Unit 1 has 100 coils (off), 64 discrete inputs (every third is on), 1000 holding registers (0) and 500 input registers,
each with its own address as value. TCP and RTU show the same ones.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

UNIT = 1
VERBS = {"on": {"coils": {0: True}}, "off": {"coils": {0: False}}}


class Counterpart(NamedTuple):
    """A running server: its TCP port on 127.0.0.1, a serial device that leads to it, the process."""

    port: int
    url: str
    process: subprocess.Popen[str]

    def tcp(self, **options: Any) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "unit": UNIT, **options}

    def rtu(self, **options: Any) -> dict[str, Any]:
        # a pseudo terminal moves bytes at any speed; a high one keeps the pauses between frames short
        return {"url": self.url, "baud": 115_200, "parity": "none", "unit": UNIT, **options}


def reason() -> str:
    """Why this machine cannot run it; empty where it can."""
    return "" if importlib.util.find_spec("pymodbus") else "pymodbus is not installed: pip install 'reflexd[modbus]'"


@contextmanager
def server() -> Iterator[dict[str, Any]]:
    """Options of actuator.modbus over TCP with the verbs on and off, of a server that runs meanwhile."""
    with counterpart() as running:
        yield running.tcp(verbs=VERBS, safe="off")


@contextmanager
def counterpart(port: int = 0) -> Iterator[Counterpart]:
    """port: of TCP; 0: any that is free."""
    command = [sys.executable, "-m", "agent.benches.io.modbus", str(port)]
    # it ends when its input does, also where this process is killed
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Counterpart(**json.loads(process.stdout.readline()), process=process)
        finally:
            process.kill()


def _main() -> None:
    asyncio.run(_serve(int(sys.argv[1])))


async def _serve(port: int) -> None:
    from pymodbus.server import ModbusSerialServer, ModbusTcpServer
    from pymodbus.simulator import SimDevice

    device = SimDevice(UNIT, simdata=_tables())
    tcp = ModbusTcpServer(device, address=("127.0.0.1", port))
    ours, theirs = _cable()
    rtu = ModbusSerialServer(device, port=theirs, baudrate=115_200)
    rtu.context = tcp.context
    await tcp.serve_forever(background=True)
    await rtu.serve_forever(background=True)
    assert isinstance(tcp.transport, asyncio.Server)
    print(json.dumps({"port": tcp.transport.sockets[0].getsockname()[1], "url": ours}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


def _tables() -> Any:
    from pymodbus.simulator import DataType, SimData

    thirds = [address % 3 == 0 for address in range(64)]
    return (
        [SimData(0, values=[False] * 100, datatype=DataType.BITS)],
        [SimData(0, values=thirds, datatype=DataType.BITS)],
        [SimData(0, count=1000, values=0, datatype=DataType.REGISTERS)],
        [SimData(0, values=list(range(500)), datatype=DataType.REGISTERS)],
    )


def _cable() -> tuple[str, str]:
    """Two serial devices, each the other's far end."""
    ends = [os.openpty() for _ in range(2)]  # the near ends stay open: otherwise the far ones fail between two users
    for _, near in ends:
        tty.setraw(near)
    (left, _), (right, _) = ends
    threading.Thread(target=_carry, args=(left, right), daemon=True).start()
    return os.ttyname(ends[0][1]), os.ttyname(ends[1][1])


def _carry(left: int, right: int) -> None:
    other = {left: right, right: left}
    while True:
        for end in select.select([left, right], [], [])[0]:
            os.write(other[end], os.read(end, 4096))


if __name__ == "__main__":
    _main()
