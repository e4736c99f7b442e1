"""The firewall rule of agent/commands/README.md: it is taken by nftables, and limits connections by address."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT

ISOLATED = ("unshare", "--net", "sh", "-ec")  # rules and loopback of its own: this machine's stay as they are
CONNECTS = """
import socket
server, made, refused = socket.create_server(("0.0.0.0", 47200), backlog=100), [], 0
def connects(source):
    client = socket.socket()
    client.bind((source, 0))
    made.append(client)
    return not client.connect_ex(("127.0.0.1", 47200))
print([sum(connects(source) for _ in range(40)) for source in ("127.0.0.1", "127.0.0.2")])
"""


def reason() -> str:
    if not shutil.which("nft"):
        return "no nft here: apt-get install nftables"
    command = [*ISOLATED, "ip link set lo up; nft add table inet reflexd-trial"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return f"nftables needs root and a kernel with it: {ended.stderr.strip()}" if ended.returncode else ""


def test_the_rule_limits_the_connections_of_each_address(tmp_path: Path) -> None:
    if why := reason():
        pytest.skip(why)
    text = (ROOT / "agent/commands/README.md").read_text(encoding="utf-8")
    (rules,) = re.findall(r"```\n(table inet reflexd .*?)```", text, re.DOTALL)
    (tmp_path / "reflexd.nft").write_text(rules)
    command = [*ISOLATED, 'ip link set lo up; nft -f "$0"; exec "$1" -c "$2"', str(tmp_path / "reflexd.nft")]
    ended = subprocess.run([*command, sys.executable, CONNECTS], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "[32, 32]\n", ended.stderr
