"""Masking of secrets in texts and configurations."""

from __future__ import annotations

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
    assert set(redact.secrets(tree)) == {"abc", z85, "12345678", "b"}
