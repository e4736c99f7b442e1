"""The units and files in systemd/: accepted by systemd's own tools, and in step with the code."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from agent import __main__ as entry
from agent.box import realtime
from agent.commands import host, server, standby
from agent.config.load import load_config
from agent.options import CONFIG_FOLDER
from agent.packages import package
from tests.shared import ROOT

FOLDER = ROOT / "systemd"
UNITS = ("reflexd.service", "reflexd-actuate.service")
EXPOSURE = 2.5  # of 10, as `systemd-analyze security` counts

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze here: apt-get install systemd"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the ownership of installed files needs root")


def unit(name: str) -> dict[str, list[str]]:
    """Every directive with its values, in order."""
    directives: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            directives.setdefault(key, []).append(value)
    return directives


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_exposure(name: str) -> None:
    process = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(FOLDER / name)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    level = re.search(r"exposure level for .*: ([0-9.]+)", process.stdout)
    assert level, process.stdout + process.stderr
    assert float(level[1]) <= EXPOSURE


@needs_systemd
def test_verify(tmp_path: Path) -> None:
    units = []
    for path in FOLDER.glob("*.service"):
        # The venv does not exist on this machine: a program that does.
        text = re.sub(r"/opt/reflexd/(venv/bin/reflexd|firstboot)", "/bin/true", path.read_text())
        (tmp_path / path.name).write_text(text)
        units.append(str(tmp_path / path.name))
    process = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    ours = [line for line in process.stderr.splitlines() if "reflexd" in line]
    assert not ours, "\n".join(ours)


@pytest.mark.parametrize("name", UNITS)
def test_in_step_with_the_code(name: str) -> None:
    directives = unit(name)
    assert directives["RestartPreventExitStatus"] == [str(entry.EXIT_CONFIG)]
    assert directives["Restart"] == ["on-failure"] and directives["StartLimitIntervalSec"] == ["0"]
    assert directives["ExecStart"][0].endswith(f"-c {CONFIG_FOLDER}/reflexd.yaml")
    assert int(directives["LimitRTPRIO"][0]) >= max(
        realtime.LANE_PRIORITY, realtime.IO_PRIORITY, realtime.ACTUATOR_PRIORITY, realtime.STANDBY_PRIORITY
    )
    assert directives["LimitMEMLOCK"] == ["infinity"]
    assert directives["RuntimeDirectory"] == ["reflexd"] and directives["RuntimeDirectoryPreserve"] == ["yes"]
    for fatal in ("RestrictRealtime", "PrivateDevices", "PrivateNetwork", "MemoryDenyWriteExecute"):
        assert fatal not in directives, f"{fatal} would stop lanes"


def test_the_daemon_notifies_systemd() -> None:
    directives = unit("reflexd.service")
    assert directives["Type"] == ["notify"]
    assert 2 <= int(directives["WatchdogSec"][0]) <= 30
    assert directives["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_the_actuator_host_notifies_systemd() -> None:
    directives = unit("reflexd-actuate.service")
    assert directives["Type"] == ["notify"] and directives["NotifyAccess"] == ["main"]
    # The standby ends a host that hangs long before; and where there is none, the host itself.
    assert (server.TURN_NS + host.STANDBY_NS) / 1e9 < int(directives["WatchdogSec"][0]) <= 5
    assert int(directives["TimeoutStopSec"][0]) > host.STOP_S


def test_a_new_actuator_host_waits_until_the_standby_of_a_dead_one_has_ended() -> None:
    """`control-group`: it is sent SIGTERM, which it does not obey, and killed after TimeoutStopSec."""
    directives = unit("reflexd-actuate.service")
    assert directives["KillMode"] == ["control-group"]
    assert int(directives["TimeoutStopSec"][0]) > standby.GIVE_UP_S + 1


@pytest.mark.parametrize("name", UNITS)
def test_an_end_by_sighup_before_python_runs_is_restarted(name: str) -> None:
    assert unit(name)["RestartForceExitStatus"] == ["SIGHUP"]


def test_the_actuators_outlive_the_daemon() -> None:
    """No BindsTo, PartOf or Requires in either direction: a stop or a crash of one must not end the other."""
    daemon, actuate = unit("reflexd.service"), unit("reflexd-actuate.service")
    assert "reflexd-actuate.service" in " ".join(daemon["After"]) and daemon["Wants"] == ["reflexd-actuate.service"]
    for directives in (daemon, actuate):
        assert not {"BindsTo", "PartOf", "Requires", "Requisite", "PropagatesStopTo"} & directives.keys()


def test_same_hardening() -> None:
    daemon, actuate = unit("reflexd.service"), unit("reflexd-actuate.service")
    start = list(daemon).index("NoNewPrivileges")
    for key in list(daemon)[start:]:
        assert actuate[key] == daemon[key], key


def test_users_and_groups_exist() -> None:
    """systemd refuses a unit whose user or group is missing."""
    created = set(re.findall(r"^[ug] +(\S+)", (FOLDER / "reflexd.sysusers").read_text(), re.M))
    for name in UNITS:
        directives = unit(name)
        assert {directives["User"][0], directives["Group"][0], *directives["SupplementaryGroups"][0].split()} <= created


def test_the_default_configuration_is_valid() -> None:
    config = load_config(FOLDER / "reflexd.yaml")
    assert config.node == "box", "firstboot replaces this name"
    for lane in config.lanes.values():
        package.open_package(package.find(lane.model, FOLDER))
        assert lane.source.driver.rpartition(".")[2].startswith("sim"), "it must run on any box"


@needs_root
@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="no systemd-sysusers here: apt-get install systemd")
def test_install(tmp_path: Path) -> None:
    (tmp_path / "etc/systemd").mkdir(parents=True)
    for _ in range(2):  # again changes nothing
        subprocess.run([FOLDER / "install", tmp_path], check=True, capture_output=True, timeout=60)
        (tmp_path / "etc/reflexd/reflexd.yaml").write_text("node: mine\n")
    assert (tmp_path / "etc/reflexd/reflexd.yaml").read_text() == "node: mine\n", "an edited configuration stays"
    for name in (*UNITS, "reflexd-firstboot.service"):
        link = tmp_path / "etc/systemd/system/multi-user.target.wants" / name
        assert os.readlink(link) == f"/etc/systemd/system/{name}"
        assert (tmp_path / os.readlink(link).lstrip("/")).is_file()
    assert "reflexd:" in (tmp_path / "etc/passwd").read_text()
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.stat().st_uid == 0 and not path.stat().st_mode & stat.S_IWOTH, path
    assert (tmp_path / "opt/reflexd/firstboot").stat().st_mode & stat.S_IXUSR


def test_install_refuses_a_folder_that_is_not_a_root_file_system(tmp_path: Path) -> None:
    process = subprocess.run([FOLDER / "install", tmp_path], capture_output=True, text=True, timeout=60)
    assert process.returncode == 1 and len(process.stderr.splitlines()) == 1


@needs_root
def test_kind_install_into_a_relative_folder(tmp_path: Path) -> None:
    """As in `cd image && ../reflexd/systemd/install root`: it works in another folder itself."""
    (tmp_path / "root/etc/systemd").mkdir(parents=True)
    environment = {**os.environ, "CDPATH": str(ROOT)}
    subprocess.run(
        [FOLDER / "install", "root"], cwd=tmp_path, check=True, capture_output=True, env=environment, timeout=60
    )
    config = tmp_path / "root/etc/reflexd/reflexd.yaml"
    assert stat.S_IMODE(config.stat().st_mode) == 0o640, "a camera's url has its password"
    groups = tmp_path / "root/etc/group"
    if groups.exists():  # systemd-sysusers is here
        number = next(line for line in groups.read_text().splitlines() if line.startswith("reflexd:")).split(":")[2]
        assert config.stat().st_gid == int(number)


def test_kind_the_first_boot_lets_only_the_service_read_its_configuration() -> None:
    text = (FOLDER / "firstboot").read_text()
    assert 'chmod 0640 "$config"' in text and 'chown root:reflexd "$config"' in text and "0644" not in text


@pytest.mark.parametrize("name", UNITS)
def test_kind_a_child_that_is_ended_for_memory_does_not_end_the_unit(name: str) -> None:
    assert unit(name)["OOMPolicy"] == ["continue"]
