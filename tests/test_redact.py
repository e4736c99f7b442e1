"""Masking of secrets in texts and configurations."""

from __future__ import annotations

import pytest

from agent import redact


def test_text_is_masked_at_its_place() -> None:
    for raw, clean in (
        ("GET http://u:p@h/x?token=1 done", "GET http://***@h/x?*** done"),
        ("mqtts://me:pa%40ss@broker:8883", "mqtts://***@broker:8883"),
        ('{"password": "a\\"b", "x": 1}', '{"password": "***", "x": 1}'),
        ("PASSWORD=abc other=1", "PASSWORD=*** other=1"),
        ("evidence person 0.98, 12 ms ago", "evidence person 0.98, 12 ms ago"),
        ("broker_token-2 : abc", "broker_token-2 : ***"),
        ("a" * 300_000, "a" * 300_000),
        ("a-" * 100_000, "a-" * 100_000),
        ("token" * 50_000, "token" * 50_000),
        ("http://" * 40_000, "http://" * 40_000),
        ("(u:" * 50_000 + " @", "(u:" * 50_000 + " @"),
        ("passed over 3 frames; spinning", "passed over 3 frames; spinning"),
    ):
        assert redact.text(raw, []) == clean
    assert redact.text("pin 4711, t=14711, 0.4711", ["4711"]) == "pin ***, t=14711, 0.4711"


def test_values_that_are_secret() -> None:
    z85 = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    tree = {
        "own": "/etc/reflexd/box.key_secret",
        "server_key": "keys/arm.key",
        "api_key": "abc",
        "key": z85,
        "port": 1883,
        "wifi": {"psk": 12345678, "on": True},
        "tokens": {"a": "b"},
        "note": z85,
    }
    assert redact.tree(tree) == {
        "own": "/etc/reflexd/box.key_secret",
        "server_key": "keys/arm.key",
        "api_key": "***",
        "key": "***",
        "port": 1883,
        "wifi": {"psk": "***", "on": True},
        "tokens": "***",
        "note": "***",
    }
    parts = set(redact.url_secrets(z85))  # it could also be an address
    assert set(redact.secrets(tree)) - parts == {"abc", z85, "12345678", "b"}


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("lane h: admin:p/a@ss@10.0.0.1:4001: not there", "lane h: ***@10.0.0.1:4001: not there"),
        (
            "cell.yaml:16: '/srv/admin:pass@cam/v.mp4' does not exist",
            "cell.yaml:16: '/srv/***@cam/v.mp4' does not exist",
        ),
        ("'//admin:pass@cam' is no folder", "'//***@cam' is no folder"),
        *(
            (raw, raw)
            for raw in ("10:00@x", "at 21:52:20.123@x", "ipc:///run/a:b/x", "reflexd@1.service: me@x", "a:b c@d")
        ),
    ],
)
def test_kind_a_login_without_a_scheme_is_masked_and_a_time_is_none(raw: str, clean: str) -> None:
    """12."""
    assert redact.message(raw) == clean


def test_passwords_of_addresses_without_a_scheme() -> None:
    for address in ("admin:p w'x@cam:1/v", "//admin:p w'x@cam", "/srv/admin:p w'x@cam/v"):
        assert "p w'x" in set(redact.secrets({"path": address}))
        assert "p w'x" not in str(redact.tree({"path": address}))
    for plain in (
        "10:00@x",
        "10:00:30 me@x",
        "ipc:///run/a:b/x",
        "me@x",
        "label: me@x",
        "tcp://10.0.0.1:5000",
        "/dev/a:b",
    ):
        assert not set(redact.secrets({"path": plain}))
