"""`reflexd diag`: everything for a ticket, within bounds, and no secret anywhere in it."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from agent import keys, ledger
from agent.field import collect, diag
from agent.field.checks import timers
from agent.recorder.recording import Recording
from agent.tapes.format import TapeHeader
from tests.field_fixtures import configuration, exit_code, reflexd, write_ledger
from tests.processes import Cell, arm
from tests.waiting import until

SECRETS = (
    "hunter2-cam",
    "Tr0ub4dor",
    "s3cr3t-psk",
    "tok-abcdef",
    "path-secret",
    "query-secret",
    "spaced out words",
    "comment-secret",
)


@pytest.fixture(autouse=True)
def short_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "SECONDS", 0.05)


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read() for name, file in files.items() if file}


def everything(path: Path) -> bytes:
    """Names and contents, as grep would read them."""
    return b"\n".join(name.encode() + b"\n" + content for name, content in unpacked(path).items())


def diagnose(folder: Path, path: Path, *options: str) -> dict[str, bytes]:
    out = folder / "ticket.tar.gz"
    result = reflexd("diag", "-c", str(path), "-o", str(out), *options)
    assert exit_code(result) == 0 and str(out) in result.stdout and " MB; " in result.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    return unpacked(out)


def journal(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A journalctl that prints this text."""
    (folder / "bin").mkdir()
    (folder / "journal").write_text(text, encoding="utf-8")
    tool = folder / "bin/journalctl"
    tool.write_text(f"#!/bin/sh\ncat {folder}/journal\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")


def planted(folder: Path) -> tuple[Path, list[str]]:
    """A configuration full of secrets in YAML of every style, and the secrets."""
    _, secret = keys.make(folder / "keys", "box")
    private = keys.read_secret(secret)[1].decode()
    path = folder / "reflexd.yaml"
    path.write_text(
        f"""# old password: comment-secret
node: cell-1
run_dir: {folder}/run
state_dir: {folder}/state
keys: {{own: {secret}, authorized: {folder}/keys}}
lanes:
  yard:
    source: {{driver: camera.rtsp, url: "rtsp://admin:hunter2-cam@10.0.0.9:554/live?user=a&password=query-secret"}}
    model: person-coarse
  gate:
    source:
      driver: camera.rtsp
      url: >-
        rtsp://10.0.0.9/path-secret/1
    model: person-coarse
mqtt:
  user: box
  password: 'Tr0ub4dor'  # also: comment-secret
  psk:
    - s3cr3t-psk
  api_token: |
    tok-abcdef
  passphrase: spaced
    out words
""",
        encoding="utf-8",
    )
    return path, [*SECRETS, private]


def test_no_planted_secret_is_anywhere_in_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, secrets = planted(tmp_path)
    private = secrets[-1]
    pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----"
    journal(
        tmp_path,
        monkeypatch,
        f"open rtsp://admin:hunter2-cam@10.0.0.9/path-secret/1?x=query-secret failed\nTr0ub4dor\n"
        f'psk=s3cr3t-psk token: "tok-abcdef" it said spaced out words\nAuthorization: Bearer abcdefghijkl\n{pem}\n'
        f'{private}\nsecret-key = "{private}"\n',
    )
    write_ledger(tmp_path, "yard")
    (tmp_path / "run/key.ledger").write_text(private)  # no ledger
    files = diagnose(tmp_path, path)
    content = everything(tmp_path / "ticket.tar.gz")
    for secret in [*secrets, "b3BlbnNzaC1rZXk", "abcdefghijkl"]:
        assert secret.encode() not in content, secret
    config = files["reflexd.yaml"].decode()
    assert f"own: {tmp_path}/keys/box.key_secret" in config and "rtsp://***@10.0.0.9:554/***" in config
    assert "user: box" in config and "model: person-coarse" in config
    assert b"open rtsp://***@10.0.0.9/*** failed" in files["journal.txt"]
    json.loads(files["status.json"]), json.loads(files["doctor.json"])


@pytest.mark.parametrize("end", ["lanes: {a: [\n", "x: *nobody\n", "\tx: 1\n"])
def test_no_secret_of_a_configuration_that_is_not_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    path, secrets = planted(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + end, encoding="utf-8")
    journal(tmp_path, monkeypatch, "login hunter2-cam\nTr0ub4dor\n")
    files = diagnose(tmp_path, path)
    content = everything(tmp_path / "ticket.tar.gz")
    for secret in secrets:
        assert secret.encode() not in content, secret
    assert b"driver: camera.rtsp" in files["reflexd.yaml"] and files["mistakes.txt"] != b"none\n"


def test_beside_a_running_daemon_it_has_everything(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.start_both()
        until(lambda: cell.counts("arm")["inferences"], "samples")
        files = diagnose(tmp_path, cell.write())
    assert {
        "reflexd.yaml",
        "mistakes.txt",
        "status.json",
        "status.txt",
        "doctor.json",
        "versions.txt",
        "ledgers.txt",
        "ledgers/arm.ledger",
        "MISSING.txt",
    } <= set(files)
    assert json.loads(files["status.json"])["running"] and files["mistakes.txt"] == b"none\n"
    assert b"numpy==" in files["versions.txt"] and b"lane arm: " in files["ledgers.txt"]
    (tmp_path / "again.ledger").write_bytes(files["ledgers/arm.ledger"])
    assert ledger.read(tmp_path / "again.ledger").lane == "arm"


def test_with_nothing_to_collect_it_lists_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no journalctl, no dmesg
    missing = diagnose(tmp_path, configuration(tmp_path))["MISSING.txt"].decode()
    for part in ("journal.txt: ", "dmesg.txt: ", "recordings.txt: ", str(tmp_path / "run")):
        assert part in missing
    (tmp_path / "ticket.tar.gz").unlink()
    (tmp_path / "reflexd.yaml").unlink()
    assert b"reflexd.yaml: " in diagnose(tmp_path, tmp_path / "reflexd.yaml")["MISSING.txt"]


def test_kind_recordings_are_packed_only_when_asked_for_and_it_says_what_they_show(tmp_path: Path) -> None:
    """The newest that is small enough: by the counter in its name, whatever the clock said."""
    folder = tmp_path / "state/recordings"
    folder.mkdir(parents=True)
    pictures = {"order": 1, "sequence": 1, "inputs": [{"data": ""}], "evidence": [], "decisions": []}
    names = (
        "box-20990101T000000.000.mcap",
        "box-00000001_20990101T000000.000.mcap",
        "box-00000002_19700101T000000.000.mcap",
    )
    for name in names:
        with open(folder / name, "wb") as file:
            written = Recording(file, {"config": "{}"})
            written.add(TapeHeader("yard", [], [], []), pictures, 1)
            written.finish()
    (folder / "box-00000003_19700101T000000.000.mcap").write_bytes(bytes(diag.RECORDING + 1))
    path = configuration(tmp_path)
    for options in ((), ("--no-recording",)):
        out = tmp_path / f"{len(options)}.tar.gz"
        text = reflexd("diag", "-c", str(path), "-o", str(out), *options).stdout
        assert not [name for name in unpacked(out) if name.endswith(".mcap")]
        assert "packed: reflexd.yaml, " in text and "without recordings: they may show people" in text
    text = reflexd("diag", "-c", str(path), "-o", str(tmp_path / "ticket.tar.gz"), "--recording").stdout
    files = unpacked(tmp_path / "ticket.tar.gz")
    assert [name for name in files if name.endswith(".mcap")] == [f"recordings/{names[-1]}"]
    assert f"packed recordings/{names[-1]}: 1 sample of lane yard, with the pictures of lane yard" in text
    assert files["recordings.txt"].decode().splitlines()[0].endswith("box-00000003_19700101T000000.000.mcap")


def test_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diag, "TOTAL", 1_000_000)
    write_ledger(tmp_path)  # 2.4 MB
    files = diagnose(tmp_path, configuration(tmp_path))
    assert "ledgers/arm.ledger" not in files
    assert b"ledgers/arm.ledger: 2.4 MB, more than is left" in files["MISSING.txt"]
    assert sum(map(len, files.values())) <= diag.TOTAL + len(files["MISSING.txt"])


def test_a_long_log_keeps_its_end(tmp_path: Path) -> None:
    archive = diag.Archive(tmp_path / "a.tar.gz", [])
    archive.text("log", "a" * diag.TEXT + "the end")
    archive.close()
    (content,) = unpacked(tmp_path / "a.tar.gz").values()
    assert len(content) == diag.TEXT and content.endswith(b"the end") and archive.missing == ["log: only its last 5 MB"]


def test_a_file_with_a_secret_in_it_is_left_out(tmp_path: Path) -> None:
    archive = diag.Archive(tmp_path / "a.tar.gz", ["Tr0ub4dor"])
    archive.data("recording", b"\0\1Tr0ub4dor\2")
    archive.close()
    assert unpacked(tmp_path / "a.tar.gz") == {} and archive.missing == ["recording: holds a secret"]


def test_an_older_archive_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ticket.tar.gz").write_text("older")
    with pytest.raises(FileExistsError):
        reflexd("diag", "-c", str(configuration(tmp_path)), "-o", str(tmp_path / "ticket.tar.gz"))


def test_a_configuration_that_can_be_loaded_again(tmp_path: Path) -> None:
    written, reason = collect.configuration(configuration(tmp_path))
    again = tmp_path / "again.yaml"
    assert written and not reason
    again.write_text(written, encoding="utf-8")
    assert collect.parsed(again) == collect.parsed(tmp_path / "reflexd.yaml")
    assert collect.configuration(tmp_path / "none.yaml")[0] is None
    assert io.StringIO(written).readline().startswith("# ")
