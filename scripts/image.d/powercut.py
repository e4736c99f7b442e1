"""The plug is pulled some times in the middle of writes; what the box had promised is there at the next boot."""

from __future__ import annotations

import random
import re
import subprocess
import time
from typing import NamedTuple

from guest import Guest
from watch import config as configure

CUTS = 10
# Runs in the guest: says a number only after fsync has returned, as a recorder and a careful editor do.
WRITER = r"""
import hashlib, os, sys
folder, config = "/var/lib/reflexd/trial", "/etc/reflexd/reflexd.yaml"
os.makedirs(folder, exist_ok=True)
text = open(config).read().split("\n# edit ")[0]
number = int(sys.argv[1])
file = open(f"{folder}/{number}.trial", "ab")
while True:
    number += 1
    body = os.urandom(32768)
    file.write(number.to_bytes(8, "big") + hashlib.sha256(body).digest() + body)
    file.flush(); os.fsync(file.fileno())
    with open(config + ".new", "w") as new:
        new.write(f"{text}\n# edit {number}\n"); new.flush(); os.fsync(new.fileno())
    os.replace(config + ".new", config)
    fd = os.open("/etc/reflexd", os.O_RDONLY); os.fsync(fd); os.close(fd)
    print(number, flush=True)
"""
READER = r"""
import glob, hashlib, re
whole = 0
for path in glob.glob("/var/lib/reflexd/trial/*.trial"):
    data = open(path, "rb").read()
    while len(data) >= 32808:
        body = data[40:32808]
        if hashlib.sha256(body).digest() != data[8:40]: break
        whole, data = max(whole, int.from_bytes(data[:8], "big")), data[32808:]
edits = re.findall(r"# edit (\d+)", open("/etc/reflexd/reflexd.yaml").read())
print(whole, edits[-1] if edits else 0)
"""
# The daemon's own recorder goes on meanwhile. What waits in memory goes to disk after three seconds: a file that was
# begun just before the cut may be empty.
TAPES = r"""
from pathlib import Path
from agent.recorder import recording
read, torn, fresh, bad = 0, 0, 0, []
for path in sorted(Path("/var/lib/reflexd/recordings").glob("*.mcap")):
    try:
        told = recording.read(path)
        read, torn = read + 1, torn + told.torn
    except Exception as error:
        if path.stat().st_size < 8192: fresh += 1
        else: bad.append(f"{path.name}: {error!r}")
print(f"{read} read ({torn} torn), {fresh} empty" + (" BAD " + "; ".join(bad) if bad else ""))
"""


class Found(NamedTuple):
    promised: int
    records: int
    edit: int
    config: str
    models: str
    tapes: str
    disk: str
    service: str
    ssh_s: float


def _power_cuts(guest: Guest, cuts: int = CUTS) -> str:
    configure(guest, "calm")
    guest.ask(
        "sudo install -d -o reflexd -g reflexd /var/lib/reflexd/models && sudo cp -r /opt/reflexd/venv/lib/python3*/"
        "site-packages/models/arm-deviation /var/lib/reflexd/models/ && sync"
    )
    guest.ask("sudo tee /var/lib/writer.py >/dev/null && sync", given=WRITER)
    print("    cut  promised  records   edit  config   models   service   ssh s  disk, tapes", flush=True)
    bad, promised = 0, 0
    for number in range(1, cuts + 1):
        promised = _write_until_cut(guest, promised)
        guest.on()
        found = _look(guest, promised, guest.reachable())
        well = (found.config, found.models, found.service) == ("good", "good", "active")
        good = well and "BAD" not in found.tapes and found.records >= promised <= found.edit
        bad += not good
        print(
            f"{number:7} {found.promised:9} {found.records:8} {found.edit:6}  {found.config:8} {found.models:8} "
            f"{found.service:8} {found.ssh_s:6.0f}  {found.disk}, {found.tapes}{'' if good else '   <- BAD'}",
            flush=True,
        )
        promised = max(found.records, found.edit)
    if bad:
        raise RuntimeError(f"{bad} of {cuts} power cuts lost something")
    return f"{cuts} cuts in the middle of writes: configuration, models, recordings and all that was promised there after each"


def _write_until_cut(guest: Guest, start: int) -> int:
    """The last number that the writer said before the plug was pulled."""
    writer = subprocess.Popen(guest.ssh(f"sudo python3 /var/lib/writer.py {start}"), stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    last = int(writer.stdout.readline() or 0)
    time.sleep(random.uniform(1.0, 5.0))
    guest.cut()
    rest = writer.communicate()[0].split("\n")[:-1]
    return int(rest[-1]) if rest else last


# Side by side: each takes ten seconds of an emulated core to begin.
CHECKS = """
cat >/tmp/tapes.py
reflexd='sudo -u reflexd reflexd'
$reflexd check >/dev/null 2>&1 && echo good >/tmp/config || echo BAD >/tmp/config &
$reflexd model verify /var/lib/reflexd/models/arm-deviation >/dev/null 2>&1 && echo good >/tmp/models || echo BAD >/tmp/models &
sudo -u reflexd /opt/reflexd/venv/bin/python /tmp/tapes.py >/tmp/tapes 2>&1 &
wait
cat /tmp/config /tmp/models /tmp/tapes
"""


def _look(guest: Guest, promised: int, ssh_s: float) -> Found:
    records, edit = (int(word) for word in guest.ask("sudo python3 -", given=READER).split())
    service = guest.until("the service's fate", "systemctl is-active reflexd.service | grep -v activating")
    config, models, tapes = guest.ask(CHECKS, given=TAPES, timeout=900).split("\n", 2)
    log = guest.ask("sudo cat /run/initramfs/fsck.log; sudo dmesg | grep 'EXT4-fs.*vda4'", check=False)
    disk = (
        "journal replayed"
        if re.search("recovering journal|recovery complete", log)
        else "clean"
        if "clean" in log
        else "?"
    )
    if re.search(r"UNEXPECTED|errors behavior.*with errors|FIXED", log):
        disk = "repaired"
    return Found(promised, records, edit, config, models, tapes, disk, service, ssh_s)
