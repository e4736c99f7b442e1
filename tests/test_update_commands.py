"""`reflexd model publish` and its kin, metrics, the doctor, and the updater of a real daemon."""

from __future__ import annotations

import json
import os
import shutil
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from agent.errors import ConfigError, PackageError
from agent.field.checks import updates
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Check
from agent.metrics import LedgerCollector
from agent.update import library, progress
from agent.update.progress import Progress
from agent.update.store import Store
from tests.field_fixtures import box, complete, configuration, exit_code, reflexd
from tests.processes import Cell, arm
from tests.update_fixtures import MODEL, Publisher
from tests.waiting import until


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publisher")


def publish(publisher: Publisher, version: str, *more: str, card: bytes = b"") -> dict[str, object]:
    folder = publisher.package(version, card)
    arguments = ["--repo", str(publisher.repo), "--keys", str(publisher.keys), "--json", *more]
    answer: dict[str, object] = json.loads(reflexd("model", "publish", str(folder), *arguments).output)
    return answer


def test_the_first_version_makes_the_repository_and_says_what_boxes_trust(publisher: Publisher) -> None:
    folder = publisher.package("2.0")
    arguments = ("--repo", str(publisher.repo), "--keys", str(publisher.keys))
    output = reflexd("model", "publish", str(folder), *arguments).output
    assert "arm-deviation 2.0" in output and "whole:" in output and "1.root.json (update.root)" in output
    for path in publisher.repo.rglob("*"):
        assert path.stat().st_mode & 0o004, f"{path}: a web server must read it"


def test_a_dry_run_prints_every_size_and_writes_nothing(publisher: Publisher) -> None:
    card = publisher.package("2.0").joinpath("CARD.md").read_bytes()
    publish(publisher, "2.0")
    before = sorted(publisher.repo.rglob("*"))
    shutil.rmtree(publisher.keys)
    answer = publish(publisher, "2.1", "--dry-run", card=card + b"more")
    assert sorted(publisher.repo.rglob("*")) == before
    whole, difference = answer["bundles"]  # type: ignore[misc]
    assert whole["bytes"] > 300_000 and difference["from"] == "2.0"
    assert (
        difference["bytes"] <= min(difference[way] for way in ("whole", "subtract", "bsdiff"))
        and difference["published"]
    )


def test_a_difference_that_saves_nothing_is_named_and_not_published(publisher: Publisher) -> None:
    publish(publisher, "2.0")
    folder = publisher.package("2.1")
    golden = folder / "golden.npz"
    golden.write_bytes(os.urandom(len(golden.read_bytes())))
    for path in (folder / "manifest.yaml", next(folder.glob("*.tflite"))):
        path.write_bytes(path.read_bytes()[::-1] if path.suffix == ".tflite" else path.read_bytes())
    arguments = ("--repo", str(publisher.repo), "--dry-run")
    output = reflexd("model", "publish", str(folder), *arguments).output
    assert "saves too little, so it is not published" in output


def test_the_same_version_is_published_once_and_with_other_content_never(publisher: Publisher) -> None:
    publish(publisher, "2.0")
    number = publisher.at(days=0).targets().version
    publish(publisher, "2.0")
    assert publisher.at(days=0).targets().version == number
    (publisher.package("2.0") / "CARD.md").write_bytes(b"another one")
    with pytest.raises(ConfigError, match=r"published with other content.*--version"):
        publish(publisher, "2.0")


def test_only_the_newest_versions_stay_in_a_repository(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.update.repository.publish.KEPT", 2)
    for number in range(4):
        publisher.publish(f"2.{number}", card=b"card %d" % number)
    assert {path.parent.name for path in publisher.repo.glob(f"targets/{MODEL}/*/*.rxp")} == {"2.2", "2.3"}
    assert len(list(publisher.repo.glob(f"targets/{MODEL}/*.json"))) == 1


def test_a_broken_package_is_not_published(publisher: Publisher) -> None:
    next(publisher.package("2.0").glob("*.tflite")).write_bytes(b"damaged")
    with pytest.raises(PackageError, match="sha256"):
        publish(publisher, "2.0")
    assert not publisher.repo.exists()


@pytest.mark.parametrize("version", ["", "a/b", "configured", "..", "x" * 70])
def test_a_version_that_cannot_be_a_folder_is_refused(publisher: Publisher, version: str) -> None:
    folder = publisher.package("2.0")
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace('version: "2.0"', f'version: "{version}"'))
    with pytest.raises(ConfigError, match="cannot name a version"):
        publish(publisher, "2.0")


def test_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    output = reflexd("model", "keys", str(tmp_path / "keys")).output
    assert "root.pem   keep it offline" in output
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    with pytest.raises(ConfigError, match="see rotate"):
        reflexd("model", "keys", str(tmp_path / "keys"))


def test_without_an_offline_key_the_message_says_which_and_how(publisher: Publisher) -> None:
    publish(publisher, "2.0")
    (publisher.keys / "targets.pem").unlink()
    with pytest.raises(ConfigError, match=r"targets\.pem: .*kept offline: bring it.*--keys"):
        publish(publisher, "2.1")


def test_the_keys_of_another_repository_sign_nothing(publisher: Publisher, tmp_path: Path) -> None:
    publish(publisher, "2.0")
    shutil.rmtree(publisher.keys)
    reflexd("model", "keys", str(publisher.keys))
    with pytest.raises(ConfigError, match="is not the targets key of this repository"):
        publish(publisher, "2.1")


def test_refresh_says_until_when_and_which_key_is_needed(publisher: Publisher) -> None:
    publish(publisher, "2.0")
    arguments = ("--repo", str(publisher.repo), "--keys", str(publisher.keys))
    result = reflexd("model", "refresh", *arguments)
    assert "signed again: snapshot, timestamp" in result.output and exit_code(result) == 0
    assert "root until" in result.output


def test_rotate_keeps_the_old_key_beside_the_new_one(publisher: Publisher) -> None:
    publish(publisher, "2.0")
    arguments = ("--repo", str(publisher.repo), "--keys", str(publisher.keys))
    assert "root.json 2 has the new key" in reflexd("model", "rotate", "targets", *arguments).output
    assert (publisher.keys / "targets.old-1.pem").exists()
    publish(publisher, "2.1")


def test_without_the_libraries_the_message_says_what_to_install(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "installed", lambda: False)
    with pytest.raises(ConfigError, match="reflexd\\[update\\]"):
        publish(publisher, "2.0")


# On a box.


def stored(path: Path, publisher: Publisher, *versions: str) -> Store:
    """Versions of which each was accepted in turn. path: of the configuration."""
    store = Store(path.parent / "state", MODEL)
    for version in versions:
        store.add(publisher.package(version), version)
        store.begin_trial(version)
        store.commit()
    return store


def test_history_shows_versions_and_reasons(tmp_path: Path, publisher: Publisher) -> None:
    path = configuration(tmp_path)
    assert "no versions on this box" in reflexd("model", "history", "-c", str(path)).output
    store = stored(path, publisher, "2.0", "2.1")
    store.rollback("p99 60 ms")
    output = reflexd("model", "history", MODEL, "-c", str(path)).output
    assert "arm-deviation: 2.0 in use" in output and "rejected 2.1: p99 60 ms" in output
    assert "2.1  rolled back: p99 60 ms" in output
    content = json.loads(reflexd("model", "history", str(path), "--json").output)
    assert content[MODEL]["current"] == "2.0" and sorted(content[MODEL]["versions"]) == ["2.0", "2.1"]


def test_rollback_goes_to_the_version_before(tmp_path: Path, publisher: Publisher) -> None:
    path = configuration(tmp_path)
    store = stored(path, publisher, "2.0", "2.1")
    result = reflexd("model", "rollback", MODEL, "-c", str(path))
    assert "2.0 from the next start on; no daemon runs" in result.output and exit_code(result) == 0
    assert store.state().current == "2.0" and store.state().rejected == {"2.1": "by hand"}
    reflexd("model", "rollback", MODEL, "-c", str(path))
    with pytest.raises(ConfigError, match="nothing to roll back"):
        reflexd("model", "rollback", MODEL, "-c", str(path))


def test_hold_pins_and_releases(tmp_path: Path, publisher: Publisher) -> None:
    path = configuration(tmp_path)
    store = stored(path, publisher, "2.0")
    assert "held at 2.0" in reflexd("model", "hold", MODEL, "-c", str(path)).output
    assert store.state().hold == "2.0"
    output = reflexd("model", "hold", MODEL, "1.9", "-c", str(path)).output
    assert "held at 1.9" in output and "in use until then: 2.0" in output
    assert "newer versions are taken again" in reflexd("model", "hold", MODEL, "--release", "-c", str(path)).output
    assert store.state().hold is None


def test_a_model_that_no_lane_uses_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no lane uses a model 'movenet'; there is arm-deviation"):
        reflexd("model", "hold", "movenet", "-c", str(configuration(tmp_path)))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_changes_still_belongs_to_the_service(tmp_path: Path, publisher: Publisher) -> None:
    path = configuration(tmp_path)
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 12345, 12345)
    reflexd("model", "hold", MODEL, "-c", str(path))
    made = [*(tmp_path / "state").rglob("*")]
    assert len(made) == 4 and {entry.lstat().st_uid for entry in made} == {12345}


def families(tmp_path: Path) -> dict[str, Metric]:
    return {family.name: family for family in LedgerCollector(tmp_path / "run").collect()}


def test_metrics_have_the_counts_and_the_versions(tmp_path: Path, publisher: Publisher) -> None:
    path = configuration(tmp_path)
    (tmp_path / "run").mkdir()
    assert "reflexd_update_checks" not in families(tmp_path)
    store = stored(path, publisher, "2.0", "2.1")
    store.rollback("slow")
    noted = Progress(
        state_dir=str(tmp_path / "state"), models=[MODEL], checks=5, refused={"silent": 2}, reason="silent"
    )
    progress.write(tmp_path / "run", noted)
    samples = {family.name: family.samples for family in families(tmp_path).values()}
    assert [sample.value for sample in samples["reflexd_update_checks"]] == [5.0]
    assert [(sample.labels, sample.value) for sample in samples["reflexd_update_refused"]] == [
        ({"reason": "silent"}, 2.0)
    ]
    assert samples["reflexd_update_failing"][0].labels == {"reason": "silent"}
    assert samples["reflexd_model_version"][0].labels == {"model": MODEL, "version": "2.0"}
    assert samples["reflexd_model_rejected"][0].value == 1.0
    assert samples["reflexd_model_rejected_timestamp_seconds"][0].value > 1e9


@pytest.mark.parametrize("content", [b"", b"{", b'{"checks": "many"}'])
def test_a_damaged_note_hides_no_other_metric(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/update.json").write_bytes(content)
    assert "reflexd_health" in families(tmp_path)


def checks(path: Path) -> dict[str, Check]:
    return {check.name: complete(check) for check in updates.checks(box(path))}


def test_the_doctor_skips_a_box_without_updates(tmp_path: Path) -> None:
    assert checks(configuration(tmp_path))["updates"].state == SKIP


def test_the_doctor_finds_what_keeps_updates_away(tmp_path: Path, publisher: Publisher) -> None:
    publisher.publish("2.0")
    section = {"url": publisher.url, "root": str(tmp_path / "root.json")}
    path = configuration(tmp_path, update=section)
    found = checks(path)
    assert found["trusted root"].state == BAD and found["last update check"].state == WARN
    (tmp_path / "root.json").write_text("{}")
    assert checks(path)["trusted root"].state == BAD
    shutil.copy(publisher.root, tmp_path / "root.json")
    (tmp_path / "run").mkdir()
    now = datetime.now(timezone.utc)
    noted = Progress(state_dir=str(tmp_path / "state"), checked=now.timestamp(), reason="silent", message="no answer")
    progress.write(tmp_path / "run", noted)
    (tmp_path / "state/update/metadata").mkdir(parents=True)
    shutil.copy(publisher.repo / "metadata/timestamp.json", tmp_path / "state/update/metadata")
    stored(path, publisher, "2.0", "2.1").rollback("slow")
    found = checks(path)
    assert found["trusted root"].state == GOOD and found["repository's signature"].state == GOOD
    assert "silent: no answer" in found["last update check"].cause
    assert "version 2.1 was rejected: slow" in found[f"model {MODEL}"].cause
    ended = updates.signatures(tmp_path / "state", now + timedelta(days=8))
    assert complete(ended).state == WARN and "model refresh" in ended.fix


def test_the_doctor_sees_a_clock_in_1970() -> None:
    assert complete(updates.clock(0.0)).state == BAD
    assert updates.clock(datetime.now(timezone.utc).timestamp()).state == GOOD


@pytest.mark.slow
def test_a_real_daemon_starts_the_updater_and_a_reload_changes_it(tmp_path: Path, publisher: Publisher) -> None:
    publisher.publish("2.0")
    with Cell(tmp_path, {"arm": arm()}) as cell:
        folders = {"state_dir": str(tmp_path / "state"), "recorder": {"enabled": False}}
        section = {"url": publisher.url, "root": str(publisher.root), "jitter": 0, "every_s": 1}
        daemon = cell.run(cell.write(**folders))
        daemon.wait_for("runs: lanes arm")
        cell.write(**folders, update=section)
        daemon.signal(signal.SIGHUP)
        until(lambda: progress.read(cell.run_dir).installed == 1, cell.logs)
        assert Store(tmp_path / "state", MODEL).has("2.0")
        cell.write(**folders)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("configuration reloaded")
        assert daemon.stop() == 0
