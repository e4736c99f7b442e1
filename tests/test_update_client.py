"""A box and a repository, over files and a real web server: what is fetched, what is refused, and that it recovers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ConfigError
from agent.packages.package import BUNDLED
from agent.update.fetching import client, download, refusal
from agent.update.fetching.refusal import Paused, Refused
from agent.update.repository import bundle, roles, signing
from agent.update.repository.tuf_repository import Repository
from tests.update_fixtures import MODEL, Box, Publisher, Server, publisher

__all__ = ["publisher"]


@pytest.fixture
def server(publisher: Publisher) -> Iterator[Server]:
    made = Server(publisher.repo)
    yield made
    made.close()


@pytest.fixture
def box(tmp_path: Path, publisher: Publisher, server: Server) -> Box:
    """Over HTTP, with 2.0 in use."""
    made = Box(tmp_path / "box", publisher, server.url)
    made.update()
    made.accept("2.0")
    server.requests.clear()
    return made


def targets(server: Server) -> list[str]:
    """Names of the bundles that were asked for."""
    return [path.rpartition(".rxp")[0].rpartition(".")[2] for path, _ in server.requests if path.endswith(".rxp")]


def test_the_newest_version_comes_whole_from_a_folder(tmp_path: Path, publisher: Publisher) -> None:
    box = Box(tmp_path / "box", publisher)
    assert box.update() == "2.0"
    assert bundle.digest(bundle.read_package(box.store.folder("2.0"))) == bundle.digest(
        bundle.read_package(publisher.package("2.0"))
    )


def test_a_difference_is_fetched_where_it_is_smaller(publisher: Publisher, server: Server, box: Box) -> None:
    card = publisher.package("2.0").joinpath("CARD.md").read_bytes()
    publisher.publish("2.1", card[:150_000] + b"a line more" + card[150_000:])
    assert box.update() == "2.1"
    assert targets(server) == ["0"]  # of "from-2.0"
    assert (box.store.folder("2.1") / "CARD.md").stat().st_size == 300_011
    assert box.fetcher.received < 20_000


def test_a_difference_can_start_from_the_bundled_package(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "publisher")
    publisher.publish("1.0.0", (BUNDLED / MODEL / "CARD.md").read_bytes())
    shutil.rmtree(publisher.folder / "package-1.0.0")
    shutil.copytree(BUNDLED / MODEL, publisher.folder / "package-1.0.0" / MODEL)
    box = Box(tmp_path / "box", publisher)
    publisher.publish("1.0.1", (BUNDLED / MODEL / "CARD.md").read_bytes() + b"more")
    box.update()
    assert not box.store.has("1.0.0") and box.store.has("1.0.1")


def test_a_damaged_base_is_not_used(publisher: Publisher, server: Server, box: Box) -> None:
    card = publisher.package("2.0").joinpath("CARD.md").read_bytes()
    publisher.publish("2.1", card + b"more")
    (box.store.folder("2.0") / "CARD.md").write_bytes(b"damaged")
    assert box.update() == "2.1"
    assert targets(server) == ["full"]


def test_what_is_there_is_not_fetched_again(server: Server, box: Box) -> None:
    box.update()
    assert targets(server) == []


def _breaks_off(after: int) -> Callable[[SimpleHTTPRequestHandler], bool]:
    """A server that closes each connection after so many bytes of a bundle, whether a part is asked for or not."""

    def answer(request: SimpleHTTPRequestHandler) -> bool:
        if not request.path.endswith(".rxp"):
            return False
        content = Path(request.translate_path(request.path)).read_bytes()
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(content) - begin))
        request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        request.wfile.write(content[begin : begin + after])
        request.close_connection = True
        return True

    return answer


def test_a_download_goes_on_where_it_broke_off(publisher: Publisher, server: Server, box: Box) -> None:
    publisher.publish("2.1")
    server.answer = _breaks_off(120_000)
    for _ in range(2):
        with pytest.raises(Refused, match="broke off after .* it goes on there next time"):
            box.update()
    assert box.update() == "2.1"
    assert [part for _, part in server.requests if part] == ["bytes=120000-", "bytes=240000-"]


def test_a_server_without_parts_sends_it_again(publisher: Publisher, server: Server, box: Box) -> None:
    publisher.publish("2.1")
    server.answer = _breaks_off(120_000)
    with pytest.raises(Refused):
        box.update()
    plain = Server(publisher.repo, ranges=False)
    box.url = plain.url
    assert box.update() == "2.1"
    plain.close()


def test_a_limit_holds_and_the_window_pauses(publisher: Publisher, box: Box) -> None:
    publisher.publish("2.1")
    now, slept = [0.0], [0.0]

    def sleep(seconds: float) -> None:
        slept[0] += seconds
        now[0] += seconds

    def check() -> None:
        if slept[0] > 2:
            raise Paused

    box.limits = box.limits._replace(kbit_s=400.0)
    box.pace = box.pace._replace(now=lambda: now[0], sleep=sleep, check=check)
    with pytest.raises(Paused):
        box.update()
    assert 90_000 < box.fetcher.received < 130_000  # 50 kB a second for two seconds
    box.pace = box.pace._replace(check=bool)
    assert box.update() == "2.1"
    assert box.fetcher.received < 260_000 and slept[0] > 5


# What is refused. Each makes the trouble and returns how it ends.

Heal = Callable[[], Any]
Trouble = Callable[[Publisher, Server, Box], Heal]


def _wrong_signature(publisher: Publisher, server: Server, box: Box) -> Heal:
    path = publisher.repo / "metadata/timestamp.json"
    good = path.read_bytes()
    signed = json.loads(good)
    signed["signatures"][0]["sig"] = "00" * 64
    path.write_text(json.dumps(signed))
    return lambda: path.write_bytes(good)


def _another_repository(publisher: Publisher, server: Server, box: Box) -> Heal:
    other = Publisher(publisher.folder / "other")
    other.publish("9.9")
    theirs = Server(other.repo)
    box.url, before = theirs.url, box.url

    def heal() -> None:
        box.url = before
        theirs.close()

    return heal


def _expired(publisher: Publisher, server: Server, box: Box) -> Heal:
    publisher.at(days=-8).refresh()
    return lambda: publisher.at(days=0).refresh()


def _replayed(publisher: Publisher, server: Server, box: Box) -> Heal:
    path = publisher.repo / "metadata/timestamp.json"
    old = path.read_bytes()
    publisher.at(days=0).refresh()
    new = path.read_bytes()
    box.client().refresh()
    path.write_bytes(old)
    return lambda: path.write_bytes(new)


def _mixed(publisher: Publisher, server: Server, box: Box) -> Heal:
    number = publisher.at(days=0).targets().version
    path = publisher.repo / f"metadata/{number}.targets.json"
    good = path.read_bytes()
    path.write_bytes((publisher.repo / f"metadata/{number - 1}.targets.json").read_bytes())
    return lambda: path.write_bytes(good)


def _changed_bundle(publisher: Publisher, server: Server, box: Box) -> Heal:
    good = {path: path.read_bytes() for path in publisher.repo.glob(f"targets/{MODEL}/2.1/*.rxp")}
    for path, content in good.items():
        path.write_bytes(content[:1000] + bytes(1000) + content[2000:])
    return lambda: [path.write_bytes(content) for path, content in good.items()]


def _endless(suffix: str) -> Trouble:
    def trouble(publisher: Publisher, server: Server, box: Box) -> Heal:
        def answer(request: SimpleHTTPRequestHandler) -> bool:
            if not request.path.endswith(suffix):
                return False
            request.send_response(200)
            request.end_headers()
            while not server.released.is_set():
                request.wfile.write(bytes(1 << 16))
            return True

        server.answer = answer
        return lambda: setattr(server, "answer", lambda request: False)

    return trouble


def _silent(publisher: Publisher, server: Server, box: Box) -> Heal:
    server.answer = lambda request: server.released.wait()
    return lambda: setattr(server, "answer", lambda request: False)


def _drips(head: bool) -> Trouble:
    """A byte now and then, in the answer's head or body: no single read takes too long."""

    def trouble(publisher: Publisher, server: Server, box: Box) -> Heal:
        def answer(request: SimpleHTTPRequestHandler) -> bool:
            if not head:
                request.send_response(200)
                request.send_header("Transfer-Encoding", "chunked")
                request.end_headers()
            while not server.released.wait(0.05):
                request.wfile.write(b"1")
            return True

        server.answer = answer
        return lambda: setattr(server, "answer", lambda request: False)

    return trouble


def _status(publisher: Publisher, server: Server, box: Box) -> Heal:
    def answer(request: SimpleHTTPRequestHandler) -> bool:
        request.send_error(500)
        return True

    server.answer = answer
    return lambda: setattr(server, "answer", lambda request: False)


def _nobody(publisher: Publisher, server: Server, box: Box) -> Heal:
    box.url, before = "http://127.0.0.1:9", box.url
    return lambda: setattr(box, "url", before)


def _garbage(publisher: Publisher, server: Server, box: Box) -> Heal:
    path = publisher.repo / "metadata/timestamp.json"
    good = path.read_bytes()
    path.write_bytes(b"<html>sign in to the network</html>")
    return lambda: path.write_bytes(good)


def _clock(offset_days: float) -> Trouble:
    def trouble(publisher: Publisher, server: Server, box: Box) -> Heal:
        box.offset_s = offset_days * 86400
        return lambda: setattr(box, "offset_s", 0.0)

    return trouble


def _no_root(publisher: Publisher, server: Server, box: Box) -> Heal:
    box.root.unlink()
    return lambda: shutil.copy(publisher.root, box.root)


TROUBLES: dict[str, tuple[Trouble, str, str]] = {
    "wrong signature": (_wrong_signature, refusal.SIGNATURE, "not signed by the keys of update.root"),
    "another repository": (_another_repository, refusal.SIGNATURE, "not signed by the keys of update.root"),
    "expired": (_expired, refusal.EXPIRED, "reflexd model refresh"),
    "replayed": (_replayed, refusal.REPLAYED, "older than what this box has seen"),
    "mix and match": (_mixed, refusal.MIXED, "files that do not belong together"),
    "changed bundle": (_changed_bundle, refusal.MIXED, "files that do not belong together"),
    "endless metadata": (_endless("timestamp.json"), refusal.ENDLESS, "sends more than was announced"),
    "endless bundle": (_endless(".rxp"), refusal.ENDLESS, "sends more than was announced"),
    "silent": (_silent, refusal.SILENT, "sends nothing or too little"),
    "dripping head": (_drips(head=True), refusal.SILENT, "sends nothing or too little"),
    "dripping body": (_drips(head=False), refusal.SILENT, "sends nothing or too little"),
    "status 500": (_status, refusal.UNREACHABLE, "HTTP status 500"),
    "nobody there": (_nobody, refusal.UNREACHABLE, "Connection refused"),
    "a captive portal": (_garbage, refusal.DAMAGED, "no valid repository"),
    "1970": (_clock(-20_000), refusal.CLOCK, "this box's clock says"),
    "2080": (_clock(20_000), refusal.CLOCK, "this box's clock says"),
    "no root": (_no_root, refusal.ROOT, "copy metadata/1.root.json"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_what_is_wrong_is_refused_and_recovers(name: str, publisher: Publisher, server: Server, box: Box) -> None:
    trouble, reason, text = TROUBLES[name]
    publisher.publish("2.1")
    box.url = server.url.replace("//", "//me:hunter22@")
    heal = trouble(publisher, server, box)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            box.update()
        assert refused.value.reason == reason and text in str(refused.value)
        assert "hunter22" not in str(refused.value)
        assert box.store.state().current == "2.0" and not box.store.has("2.1")
        assert box.store.state().rejected == {}
    heal()
    assert box.update() == "2.1"


def test_a_clock_years_ahead_says_that_it_may_be_wrong(
    publisher: Publisher, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuf.ngclient._internal import trusted_metadata_set as tuf_internal

    class Ahead(tuf_internal.datetime.datetime):  # type: ignore[name-defined,misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + tuf_internal.datetime.timedelta(days=4000)

    publisher.publish("2.1")
    with monkeypatch.context() as patch:
        patch.setattr(tuf_internal.datetime, "datetime", Ahead)
        box.offset_s = 4000 * 86400.0
        with pytest.raises(Refused, match="if the clock is wrong, set it") as refused:
            box.update()
        assert refused.value.reason == refusal.EXPIRED
    box.offset_s = 0.0
    assert box.update() == "2.1"


def test_a_full_disk_is_seen_before_the_download(
    publisher: Publisher, server: Server, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish("2.1")
    free = shutil.disk_usage(box.state_dir)._replace(free=50 << 20)
    with monkeypatch.context() as patch:
        patch.setattr(client.shutil, "disk_usage", lambda _: free)
        with pytest.raises(Refused, match="50 MB free, 10. MB needed") as refused:
            box.update()
    assert refused.value.reason == refusal.DISK and targets(server) == []
    assert box.update() == "2.1"


def test_a_disk_that_fills_while_it_is_written_is_refused(
    publisher: Publisher, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish("2.1")
    with monkeypatch.context() as patch:
        patch.setattr(download, "_part", lambda path, begin: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"))
        with pytest.raises(Refused, match="the disk is full: free some space") as refused:
            box.update()
    assert refused.value.reason == refusal.DISK and not box.store.has("2.1")
    assert box.update() == "2.1"


def test_a_version_that_fails_its_golden_outputs_is_never_fetched_again(
    publisher: Publisher, server: Server, box: Box
) -> None:
    publisher.publish("2.1")
    box.mistake = "golden outputs differ by 3.0 times the tolerance"
    with pytest.raises(Refused, match=r"version 2\.1 is rejected: golden outputs differ") as refused:
        box.update()
    assert refused.value.reason == refusal.GOLDEN
    assert "golden outputs differ" in box.store.state().rejected["2.1"] and not box.store.has("2.1")


def test_a_signed_bomb_is_refused_once_and_for_all(publisher: Publisher, box: Box) -> None:
    publisher.publish("2.1", bases=0)
    repository = publisher.at(days=0)
    signed = repository.targets()
    bomb, _ = bundle.pack({"manifest.yaml": bytes(200 << 20)})
    assert len(bomb) < 100_000
    repository.add_target(signed, f"{MODEL}/2.1/full.rxp", bomb)
    repository.commit(signed)
    with pytest.raises(Refused, match="would unpack into") as refused:
        box.update()
    assert refused.value.reason == refusal.BOMB and "2.1" in box.store.state().rejected
    assert not list(box.state_dir.glob("update/parts/*/*"))


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_box_with_the_first_root_follows_a_new_key(role: str, publisher: Publisher, box: Box) -> None:
    publisher.at(days=0).rotate(role)
    publisher.publish("2.1")
    assert box.update() == "2.1"


def test_the_old_key_signs_nothing_after_a_rotation(publisher: Publisher, box: Box) -> None:
    publisher.at(days=0).rotate(roles.TIMESTAMP)
    box.client().refresh()
    (old,) = publisher.keys.glob("timestamp.old-1.pem")
    shutil.copy(old, signing.path_of(publisher.keys, roles.TIMESTAMP))
    with pytest.raises(ConfigError, match="is not the timestamp key of this repository"):
        publisher.at(days=0).refresh()


def test_a_rotation_without_all_keys_changes_nothing(publisher: Publisher, box: Box) -> None:
    os.rename(signing.path_of(publisher.keys, roles.SNAPSHOT), publisher.keys / "elsewhere")
    before = sorted(publisher.repo.rglob("*")), sorted(publisher.keys.iterdir())
    with pytest.raises(ConfigError, match=r"snapshot\.pem: cannot be read"):
        publisher.at(days=0).rotate(roles.TARGETS)
    assert before == (sorted(publisher.repo.rglob("*")), sorted(publisher.keys.iterdir()))
    box.client().refresh()


def test_a_box_that_slept_through_ten_roots_follows(publisher: Publisher, box: Box) -> None:
    for _ in range(5):
        publisher.at(days=0).rotate(roles.ROOT)
        publisher.at(days=0).rotate(roles.TARGETS)
    publisher.publish("2.1")
    assert box.update() == "2.1"


def test_refresh_renews_what_ends_soon_where_the_key_is_there(publisher: Publisher) -> None:
    assert publisher.at(days=0).refresh() == ["snapshot", "timestamp"]
    assert publisher.at(days=300).refresh() == ["snapshot", "timestamp", "targets"]
    assert "root" in publisher.at(days=800).refresh()
    signing.path_of(publisher.keys, "root").unlink()
    signing.path_of(publisher.keys, "targets").unlink()
    assert publisher.at(days=2000).refresh() == ["snapshot", "timestamp"]
    assert isinstance(publisher.at(days=0), Repository)
