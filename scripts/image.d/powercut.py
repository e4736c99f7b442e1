"""The power is cut several times during writes; after the next boot everything that fsync confirmed must be there."""

from __future__ import annotations

import random
import re
import subprocess
import time
from typing import NamedTuple

from configuration import configure
from guest import Guest

CUTS = 10
START_S = 300.0  # until both programs write: an emulated core imports slowly
# Runs in the guest: prints a number only after fsync has returned, as a recorder and a careful editor do.
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
complete = 0
for path in glob.glob("/var/lib/reflexd/trial/*.trial"):
    data = open(path, "rb").read()
    while len(data) >= 32808:
        body = data[40:32808]
        if hashlib.sha256(body).digest() != data[8:40]: break
        complete, data = max(complete, int.from_bytes(data[:8], "big")), data[32808:]
edits = re.findall(r"# edit (\d+)", open("/etc/reflexd/reflexd.yaml").read())
print(complete, edits[-1] if edits else 0)
"""
# Versions of a model come and go meanwhile, as updates bring them. Each file of a version holds its number.
VERSIONS = "/var/lib/reflexd/trial-versions"
UPDATER = r"""
import sys
from pathlib import Path
from agent.update.store import Store
root, number = Path(sys.argv[1]), int(sys.argv[2])
store, package = Store(root, "trial"), root / "incoming"
package.mkdir(parents=True, exist_ok=True)
while True:
    number += 1
    for name in ("manifest.yaml", "model", "golden"):
        (package / name).write_text(f"{number:08d}" * 40000)
    store.add(package, str(number))
    store.begin_trial(str(number))
    store.commit()
    store.prune(0)
    print("version", number, flush=True)
"""
VERSIONS_READER = r"""
import sys
from pathlib import Path
from agent.update.store import Store
store = Store(Path(sys.argv[1]), "trial")
current, whole = store.state().current, []
for version in store.versions():
    texts = [(store.folder(version) / name).read_text() for name in ("manifest.yaml", "model", "golden")]
    whole.append(all(text == f"{int(version):08d}" * 40000 for text in texts))
good = all(whole) and store.current_folder() and int(current) >= int(sys.argv[2]) > 0
print("good" if good else f"BAD {current} of {store.versions()}, confirmed {sys.argv[2]}, whole {whole}")
"""
# The daemon's own recorder runs meanwhile. What waits in memory goes to disk after three seconds: a file that was
# started just before the cut may be empty.
RECORDINGS = r"""
from pathlib import Path
from agent.recorder import recording
read, damaged, empty, bad = 0, 0, 0, []
for path in sorted(Path("/var/lib/reflexd/recordings").glob("*.mcap")):
    try:
        contents = recording.read(path)
        read, damaged = read + 1, damaged + contents.damaged
    except Exception as error:
        if path.stat().st_size < 8192: empty += 1
        else: bad.append(f"{path.name}: {error!r}")
print(f"{read} read ({damaged} damaged), {empty} empty" + (" BAD " + "; ".join(bad) if bad else ""))
"""
# In parallel: each takes ten seconds of an emulated core to start.
CHECKS = """
cat >/tmp/recordings.py
reflexd='sudo -u reflexd reflexd' model=/var/lib/reflexd/models/arm-deviation
$reflexd check >/dev/null 2>&1 && echo good >/tmp/config || echo BAD >/tmp/config &
$reflexd model verify $model >/dev/null 2>&1 && echo good >/tmp/models || echo BAD >/tmp/models &
sudo -u reflexd /opt/reflexd/venv/bin/python /tmp/recordings.py >/tmp/recordings 2>&1 &
wait
cat /tmp/config /tmp/models /tmp/recordings
"""


class State(NamedTuple):
    """The box after a cut. confirmed: the last number of the writer; records, edit: the last ones on the disk.

    versions: of a model, whether the one in use is whole and not older than confirmed.
    """

    confirmed: int
    records: int
    edit: int
    config: str
    models: str
    versions: str
    recordings: str
    disk: str
    service: str
    ssh_s: float

    @property
    def complete(self) -> bool:
        healthy = (self.config, self.models, self.versions, self.service) == ("good", "good", "good", "active")
        return healthy and "BAD" not in self.recordings and self.records >= self.confirmed <= self.edit

    def row(self, number: int) -> str:
        numbers = f"{number:7} {self.confirmed:9} {self.records:8} {self.edit:6}"
        parts = "".join(f" {part:8}" for part in (self.config, self.models, self.versions, self.service))
        end = "" if self.complete else "   <- BAD"
        return f"{numbers} {parts} {self.ssh_s:6.0f}  {self.disk}, {self.recordings}{end}"


def power_cuts(guest: Guest, cuts: int = CUTS) -> str:
    """Cut and compare `cuts` times. Raises RuntimeError when something was lost."""
    configure(guest)
    guest.run(
        "sudo install -d -o reflexd -g reflexd /var/lib/reflexd/models && sudo cp -r /opt/reflexd/venv/lib/python3*/"
        "site-packages/models/arm-deviation /var/lib/reflexd/models/ && sync"
    )
    guest.run("sudo tee /var/lib/writer.py >/dev/null && sync", stdin=WRITER)
    guest.run("sudo tee /var/lib/updater.py >/dev/null && sync", stdin=UPDATER)
    print("    cut confirmed  records   edit  config   models   versions service   ssh s  disk, recordings", flush=True)
    bad, confirmed, version = 0, 0, 0
    for number in range(1, cuts + 1):
        confirmed, version = _write_until_cut(guest, confirmed, version)
        guest.power_on()
        state = _state(guest, confirmed, version, guest.wait_reachable())
        bad += not state.complete
        print(state.row(number), flush=True)
        confirmed = max(state.records, state.edit)
    if bad:
        raise RuntimeError(f"{bad} of {cuts} power cuts lost something")
    kept = "configuration, models, their versions, recordings and every confirmed write"
    return f"{cuts} cuts during writes: {kept} there after each"


def _write_until_cut(guest: Guest, start: int, version: int) -> tuple[int, int]:
    """The last numbers that the writer and the updater printed before the cut."""
    updater = f"sudo -u reflexd /opt/reflexd/venv/bin/python /var/lib/updater.py {VERSIONS} {version}"
    command = guest.ssh_command(f"{updater} & sudo python3 /var/lib/writer.py {start}")
    writers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writers.stdout
    first, end = "", time.monotonic() + START_S
    while "version" not in first and time.monotonic() < end and (line := writers.stdout.readline()):
        first += line
    time.sleep(random.uniform(1.0, 5.0))
    guest.cut_power()
    return last_numbers(first + writers.communicate()[0], start, version)


def last_numbers(output: str, record: int, version: int) -> tuple[int, int]:
    """Of whole lines "N" and "version N"; where there is none, those given."""
    for line in output.split("\n")[:-1]:
        kind, _, number = line.rpartition(" ")
        record, version = (record, int(number)) if kind else (int(number), version)
    return record, version


def _state(guest: Guest, confirmed: int, version: int, ssh_s: float) -> State:
    records, edit = (int(number) for number in guest.run("sudo python3 -", stdin=READER).split())
    reader = f"sudo -u reflexd /opt/reflexd/venv/bin/python - {VERSIONS} {version}"
    versions = guest.run(reader, stdin=VERSIONS_READER)
    service = guest.wait_for("the service's state", "systemctl is-active reflexd.service | grep -E '^(active|failed)$'")
    config, models, recordings = guest.run(CHECKS, stdin=RECORDINGS, timeout=900).split("\n", 2)
    log = guest.run("sudo cat /run/initramfs/fsck.log; sudo dmesg | grep 'EXT4-fs.*vda4'", check=False)
    return State(
        confirmed=confirmed,
        records=records,
        edit=edit,
        config=config,
        models=models,
        versions=versions.strip(),
        recordings=recordings,
        disk=_disk(log),
        service=service,
        ssh_s=ssh_s,
    )


def _disk(log: str) -> str:
    """What fsck and the kernel report about /var."""
    if re.search(r"UNEXPECTED|errors behavior.*with errors|FIXED", log):
        return "repaired"
    if re.search("recovering journal|recovery complete", log):
        return "journal replayed"
    return "clean" if "clean" in log else "?"
