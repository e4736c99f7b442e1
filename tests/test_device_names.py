"""One device under several names: links, nodes of one number, numbers of one port; within and between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from drivers.actuator import serial_relay
from drivers.base import DeviceMissing
from drivers.identity import has_other_nodes, identity
from drivers.sensor.serial import open_port
from tests.test_device_taken import host
from tests.waiting import until

HOLDS = "import sys; from drivers.sensor.serial import open_port; port = open_port(sys.argv[1], 9600)"
HOLDS += "; print(flush=True); input()"
FREE = range(63, 39, -1)  # consoles that nobody looks at


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[str, str]:
    """Two nodes of one terminal, neither of them a link: of a pseudo-terminal the kernel opens one node only."""
    for number in FREE:
        paths = [tmp_path / f"{name}{number}" for name in ("first", "second")]
        try:
            for path in paths:
                os.mknod(path, 0o020600, os.makedev(4, number))
            open_port(str(paths[0]), 9600).close()
        except (OSError, DeviceMissing):
            continue
        return str(paths[0]), str(paths[1])
    pytest.skip("no virtual console, or no permission to make a node")


def system(folder: Path, bus: str, driver: str = "", **ports: str) -> Path:
    """A false /sys. ports: of a number, as in n1_3 for 1:3, the folder of its parent device."""
    for parent in set(ports.values()):
        (folder / "devices" / parent).mkdir(parents=True, exist_ok=True)
        (folder / "bus" / bus).mkdir(parents=True, exist_ok=True)
        (folder / "devices" / parent / "subsystem").symlink_to(folder / "bus" / bus)
        if driver:
            (folder / "devices" / parent / "driver").symlink_to(folder / driver)
    for number, parent in ports.items():
        node = folder / "dev/char" / number[1:].replace("_", ":")
        node.mkdir(parents=True)
        (node / "device").symlink_to(folder / "devices" / parent)
    return folder


@pytest.mark.parametrize(
    "bus, driver, same",
    [("usb-serial", "ftdi_sio", True), ("usb", "cdc_acm", True), ("usb", "hso", False), ("pci", "", False)],
)
def test_two_numbers_of_one_port_are_one_device_and_two_ports_of_one_card_are_not(
    tmp_path: Path, bus: str, driver: str, same: bool
) -> None:
    sys_root = system(tmp_path, bus, driver, n1_3="1-1:1.0/ttyUSB0", n1_5="1-1:1.0/ttyUSB0")
    null, zero = (identity(name, sys_root) for name in ("/dev/null", "/dev/zero"))
    assert (null == zero) == same


def test_ports_of_one_adapter_stay_apart(tmp_path: Path) -> None:
    sys_root = system(tmp_path, "usb-serial", n1_3="1-1:1.0/ttyUSB0", n1_5="1-1:1.0/ttyUSB1")
    assert identity("/dev/null", sys_root) != identity("/dev/zero", sys_root)


def test_links_and_hard_links_lead_to_their_file_and_a_missing_one_is_known_by_its_path(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.touch()
    other.touch()
    (tmp_path / "soft").symlink_to(file)
    os.link(file, tmp_path / "hard")
    names = [identity(str(tmp_path / name)) for name in ("file", "soft", "hard", "other", "none")]
    assert len(set(names[:3])) == 1 and len(set(names)) == 3
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    assert identity(str(tmp_path / "dangling")) == names[4]


def test_a_pseudo_terminal_has_no_other_node(line: tuple[int, str]) -> None:
    """So its number, which another mount of /dev/pts may give again, is claimed from nobody."""
    assert not has_other_nodes(line[1]) and not has_other_nodes("/dev/none") and not has_other_nodes(__file__)
    assert has_other_nodes("/dev/null")


def test_kind_another_node_of_a_port_that_is_open(nodes: tuple[str, str]) -> None:
    """12: refused before it is opened, which would set its rate; free again once the first is closed."""
    with open_port(nodes[0], 9600), pytest.raises(DeviceMissing, match="under this or another name: this process has"):
        open_port(nodes[1], 9600)
    open_port(nodes[1], 9600).close()


def test_kind_another_node_of_a_port_that_another_process_has_open(nodes: tuple[str, str]) -> None:
    """12: named with that process; also where it ends by SIGKILL the port is free at once."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, nodes[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(DeviceMissing, match=f"another name: '.*', pid {process.pid}, has it"):
            open_port(nodes[1], 9600)
        process.kill()
    open_port(nodes[1], 9600).close()


@pytest.fixture
def relays(nodes: tuple[str, str]) -> Iterator[list[serial_relay.Driver]]:
    """Of relay 1, relay 1 again and relay 2, the last two by the other node."""
    made = []
    for url, number in ((nodes[0], 1), (nodes[1], 1), (nodes[1], 2)):
        channels = {"off": {number: False}}
        options = serial_relay.Options(url=url, channels=channels, safe="off")  # type: ignore[arg-type]
        made.append(serial_relay.Driver(options))
    with ExitStack() as stack:
        for driver in made:
            stack.callback(driver.close)
        yield made


def test_kind_two_actuators_of_one_board_by_two_nodes(relays: list[serial_relay.Driver]) -> None:
    """12: they share its line, and each relay has one actuator."""
    first, same, other = relays
    first.open()
    with pytest.raises(DeviceMissing, match="busy, another actuator switches relay 1"):
        same.open()
    other.open()
    assert other.line is first.line
    other.safe()
    first.safe()


def opened(pid: int) -> list[str]:
    return [os.path.realpath(link) for link in Path(f"/proc/{pid}/fd").iterdir()]


def test_kind_two_hosts_of_one_board_by_two_nodes(tmp_path: Path, nodes: tuple[str, str]) -> None:
    """12: the second says once who has it, and takes it over when that one has ended."""
    first = host(tmp_path / "a", nodes[0])
    until(lambda: nodes[0] in opened(first.popen.pid), "it is open")
    second = host(tmp_path / "b", nodes[1])
    assert f"pid {first.popen.pid}, has it" in second.wait_for("busy, under this or another name")
    assert first.stop() == 0
    second.wait_for("the device is back, and safe")
    assert second.stop() == 0 and len(second.lines("busy")) == 1
