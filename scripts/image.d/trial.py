"""scripts/image --test: boots the image in an emulator and checks it from outside, over ssh.

A software emulator is about thirty times slower than the board: times here show that something works, not how fast.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from actuator import Actuator  # noqa: E402  # these lie beside this file, which may be run from anywhere
from configuration import configure, configure_hanging_lane  # noqa: E402
from guest import Guest  # noqa: E402
from industrial import industrial_io  # noqa: E402
from powercut import CUTS, power_cuts  # noqa: E402

SERVICE = "reflexd.service"


class Failed(Exception):
    """A requirement is not met; the text says which."""


def _boot(guest: Guest) -> str:
    """The image as it was made: first boot, services, decisions with its own configuration."""
    ssh_s = guest.wait_reachable()
    guest.wait_for("an active service", f"systemctl is-active --quiet {SERVICE} && echo yes")
    first = Actuator(guest).first("run")
    boot = guest.run("cut -d' ' -f1 /proc/uptime; systemd-analyze time | head -1")
    guest.wait_for("the end of the first boot's work", "ls /var/lib/reflexd-firstboot-done 2>/dev/null")
    names = guest.run("hostname; sudo grep ^node: /etc/reflexd/reflexd.yaml; sudo ls /etc/reflexd/keys").split()
    if "box" in names or "box.key_secret" not in names:
        raise Failed(f"the first boot made no name or keys: {names}")
    _require(guest, "root is read-only", "! sudo touch /probe 2>/dev/null")
    _require(guest, "no account has a password", "! sudo grep -qE '^[^:]+:[^*!:]' /etc/shadow")
    _require(guest, "ssh asks for no password", "sudo sshd -T | grep -qx 'passwordauthentication no'")
    _require(guest, "the journal is kept", "test -d /var/log/journal/$(cat /etc/machine-id)")
    _require(guest, "real-time threads", "ps -eLo cls,comm,args | grep -q '^ *FF.*reflexd run'")
    _require_units(guest)
    return (
        f"ssh {ssh_s:.0f} s after power, first decision {first:.1f} s after the kernel's start; {names[0]}; "
        f"{' '.join(boot.split()[1:])}"
    )


def _require(guest: Guest, requirement: str, command: str) -> None:
    if guest.run(f"({command}) && echo yes", check=False) != "yes":
        raise Failed(f"not met: {requirement}: {command}")


def _require_units(guest: Guest) -> None:
    failed = guest.run("systemctl --failed --no-legend --plain | cut -d' ' -f1")
    if failed:
        log = guest.run(f"sudo journalctl -b -u {failed.split()[0]} -n 20 --no-pager")
        raise Failed(f"units failed: {failed}\n{log}")


def _tools(guest: Guest) -> str:
    """The commands of remote diagnostics."""
    _run_arm(guest)
    results = []
    for command, codes in (("check", (0,)), ("model list", (0,)), ("status", (0, 1)), ("doctor", (0, 1, 2))):
        lines = guest.run(f"sudo -u reflexd reflexd {command} 2>&1; echo exit $?", timeout=400).splitlines()
        code = int(lines[-1].split()[1])
        if code not in codes or any("No such command" in line for line in lines):
            raise Failed(f"reflexd {command} ended with {code}: {lines[-12:]}")
        results.append(f"{command}: exit {code}, {len(lines) - 1} lines")
    return "; ".join(results)


def _camera(guest: Guest) -> str:
    """The kernel's virtual camera in a lane of its own, and a command from it."""
    guest.run("sudo modprobe vivid n_devs=1 node_types=0x1")
    guest.wait_for("a camera", "ls /dev/video0 2>/dev/null", 30)
    configure(guest, camera=True)
    since = Actuator(guest).now()
    _restart(guest)
    after = Actuator(guest).next("look", since) - since
    count = guest.wait_for(
        "inferences of the camera",
        "sudo -u reflexd /opt/reflexd/venv/bin/python -c 'from agent import ledger; from pathlib import Path;"
        ' n = ledger.read(Path("/run/reflexd/yard.ledger")).counts["inferences"]; print(n if n > 5 else "")\'',
        120,
    )
    return f"/dev/video0 by vivid: first command {after:.1f} s after the restart, {count} frames inferred so far"


def _restart(guest: Guest) -> None:
    guest.run("sudo systemctl restart reflexd-actuate reflexd", timeout=300)


def _kill(guest: Guest) -> str:
    """SIGKILL to the daemon: safe state by the other process, then a new daemon that decides."""
    return _stop_daemon(guest, "KILL", "Main process exited")


def _hang(guest: Guest) -> str:
    """SIGSTOP to the daemon: the whole process stands still; only systemd's watchdog can detect it."""
    return _stop_daemon(guest, "STOP", "Watchdog timeout")


# Process and file of the newest recorder, once a first chunk of it is written.
GROWING = (
    """sudo sh -c 'p=$(pgrep -n -f "[a]gent.recorder") && f=$(readlink /proc/$p/fd/* | grep "mcap$")"""
    """ && find $f -size +16k -printf "$p %p"'"""
)
# sudo and systemctl take seconds here: the program that sends the signal reads the time.
SEND_SIGNAL = (
    "import os, signal, sys, time; t = time.monotonic(); os.kill(int(sys.argv[1]), signal.Signals['SIG{}']); print(t)"
)


def _stop_daemon(guest: Guest, signal_name: str, message: str) -> str:
    """message: which systemd must log."""
    _run_arm(guest)
    actuator = Actuator(guest)
    time.sleep(5)  # by then the daemon has reset the watchdog
    recorder, recording = guest.wait_for("a recording that grows", GROWING, 240).split()
    pid = guest.run(f"systemctl show -p MainPID --value {SERVICE}")
    stopped = float(guest.run(f'sudo python3 -c "{SEND_SIGNAL.format(signal_name)}" {pid}'))
    restarted = actuator.restarted(SERVICE, stopped)
    deciding = actuator.next("run", restarted)
    if not any(message in str(line.get("MESSAGE")) for line in guest.journal(SERVICE)):
        raise Failed(f"kill -{signal_name}: the journal does not have '{message}'")
    safe_s = actuator.safe_after(stopped, restarted)
    return (
        f"kill -{signal_name}: actuator safe after {safe_s:.2f} s, new process after {restarted - stopped:.1f} s, "
        f"deciding again after {deciding - stopped:.1f} s; {_replay(guest, recording, recorder)}"
    )


def _replay(guest: Guest, recording: str, recorder: str) -> str:
    """The recorder outlives the daemon and writes what the lanes had left; `reflexd replay` must read all of it."""
    guest.wait_for("the end of the old recorder", f"sleep 2; test -e /proc/{recorder} || echo gone", 240)
    stdout = guest.run(f"sudo -u reflexd reflexd replay --json {recording}", timeout=400, check=False)
    report = json.loads(stdout or "{}")
    if not report or report["damaged"]:
        raise Failed(f"the recording {recording} has no end: {report}")
    if report["differences"] and not report["lost"]:
        raise Failed(f"the replay of {recording} decides differently: {report['differences'][:3]}")
    return f"recording complete, {report['inferences']} inferences, {report['decisions']} decisions again"


def _run_arm(guest: Guest) -> None:
    """Start the configuration that the emulator keeps up with."""
    configure(guest)
    _restart(guest)
    actuator = Actuator(guest)
    actuator.next("run", actuator.started())


def _lane(guest: Guest) -> str:
    """One lane's driver never returns while the rest of the daemon runs: systemd's watchdog must restart the daemon."""
    configure_hanging_lane(guest)
    actuator = Actuator(guest)
    count = f"sudo journalctl -b -u {SERVICE} -o cat | grep -c 'Watchdog timeout'"
    before = guest.run(count, check=False) or "0"  # those of other trials
    since = actuator.now()
    _restart(guest)
    actuator.next("run", since)
    guest.wait_for("a watchdog timeout", f'test "$({count})" -gt {before} && echo yes', 120)
    after = actuator.now() - since
    if after < 10:
        raise Failed(f"watchdog timeout {after:.0f} s after the restart, before the driver hung")
    return f"watchdog timeout {after:.0f} s after the restart (the driver hangs after 10 s)"


TRIALS: dict[str, Callable[[Guest], str]] = {
    "boot": _boot,
    "tools": _tools,
    "camera": _camera,
    "io": industrial_io,
    "kill": _kill,
    "hang": _hang,
    "lane": _lane,
    "powercut": power_cuts,
}


def main() -> int:
    options = _parser().parse_args()
    chosen = options.only.split(",")
    unknown = set(chosen) - set(TRIALS)
    if unknown:
        print(f"image test: no trial '{unknown.pop()}': {', '.join(TRIALS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through `finally`: no emulator stays behind
    trials: dict[str, Callable[[Guest], str]] = {**TRIALS, "powercut": partial(power_cuts, cuts=options.cuts)}
    started, bad, off_s = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory(prefix="reflexd-guest-") as folder:
        guest = Guest(options.image, options.key, Path(folder), options.arch, options.uefi)
        try:
            guest.power_on()
            guest.wait_reachable()
            for name in chosen:
                bad += not _attempt(name, trials[name], guest)
            if not bad:
                off_s = guest.shut_down()
        finally:
            guest.cut_power()
    off = f"; off in {off_s:.0f} s" if off_s else ""
    print(f"image test: {len(chosen) - bad} passed, {bad} failed, {time.monotonic() - started:.0f} s{off}")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--arch", default="amd64")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True, help="private key")
    parser.add_argument("--only", default=",".join(TRIALS))
    parser.add_argument("--cuts", type=int, default=CUTS, help="of the power")
    parser.add_argument("--uefi", action="store_true")
    return parser


def _diagnosis(guest: Guest) -> str:
    """What the box says of itself, as far as it answers."""
    commands = "sudo -u reflexd reflexd status; sudo journalctl -b -u reflexd -u reflexd-actuate -n 30 --no-pager"
    return guest.run(f"({commands}) 2>&1", timeout=120, check=False) or "no diagnosis: it does not answer"


def _attempt(name: str, trial: Callable[[Guest], str], guest: Guest) -> bool:
    started = time.monotonic()
    try:
        result = trial(guest)
    except (Failed, RuntimeError) as error:
        print(f"FAILED  {name:9} {time.monotonic() - started:5.0f} s  {error}\n{_diagnosis(guest)}", flush=True)
        return False
    print(f"passed  {name:9} {time.monotonic() - started:5.0f} s  {result}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
