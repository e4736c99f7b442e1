"""A password with spaces that only Unicode knows (U+2028, NEL, no-break): no piece of it is shown anywhere."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agent import redact, yamlfile
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.field import collect
from agent.recorder.settings import of_config
from tests.test_secrets import HOST, MISTAKES, rtsp, shown_of, url_of

SPACES = [chr(code) for code in range(0x80, 0x3001) if chr(code).isspace()]  # and none of them ends a line of YAML 1.2
WORDS = st.text(
    st.sampled_from("QZXJVKWYHGPB"), min_size=4, max_size=6
)  # no message of ours has four of these in a row
GAPS = st.text(st.sampled_from(SPACES), min_size=1, max_size=2)
SECRETS = st.tuples(WORDS, GAPS, WORDS, GAPS, WORDS).map("".join)
# Nothing else in these can be known to be a secret: a plain text that is no password's place.
NAMELESS = ("the wrong key, alone",)


def pieces_in(text: str, secret: str) -> set[str]:
    """Each four characters in a row of the secret, as they stand or escaped, which the text shows."""
    plain = re.sub(r"\\u([0-9a-f]{4})|\\x([0-9a-f]{2})", lambda code: chr(int(code[1] or code[2], 16)), text)
    return {secret[at : at + 4] for at in range(len(secret) - 3) if secret[at : at + 4] in plain}


@given(secret=SECRETS, plain=st.sampled_from(["lane yard: %s: no answer", "%s", "'%s' is no folder", '{"url": "%s"}']))
def test_kind_no_log_line_shows_a_piece_of_a_password_that_nobody_has_named(secret: str, plain: str) -> None:
    """12."""
    for text in (
        *(url_of(secret), f"admin:{secret}@{HOST}", f"/srv/admin:{secret}@cam/v.mp4", f"//admin:{secret}@cam"),
        *(f"rtsp://192.0.2.7/user=admin_password={secret}", f"http://192.0.2.7/a?b={secret}"),
    ):
        record = logging.LogRecord("x", logging.ERROR, "x", 1, plain, (text,), None)
        shown = redact.MaskedFormatter().format(record)
        assert not pieces_in(shown, secret), shown
        assert not pieces_in(redact.text(plain % text, []), secret)
    named = redact.text(f"password:\xa0{secret}, token={secret}", [])
    assert not pieces_in(named, secret), named


@given(secret=SECRETS)
def test_kind_a_known_secret_is_masked_in_every_spelling(secret: str) -> None:
    """12."""
    redact.remember([quote(secret)])
    for form in (secret, repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret, "")):
        assert not pieces_in(redact.message(f"cannot open {form}"), secret)
    for url in (f"http://h/?token={secret}", f"http://h/x?a=1&token={secret}#x"):
        assert secret in set(redact.url_secrets(url))


@pytest.mark.parametrize("mistake", sorted(set(MISTAKES) - set(NAMELESS)))
@settings(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(secret=SECRETS)
@pytest.mark.slow
def test_kind_no_mistake_shows_a_piece_of_a_password(mistake: str, secret: str, tmp_path: Path) -> None:
    """12: in `model:`, where the message was cut into lines before it was masked, as anywhere else."""
    path = tmp_path / "reflexd.yaml"
    path.write_text(MISTAKES[mistake](secret), encoding="utf-8")
    assert not pieces_in(shown_of(path), secret), shown_of(path)


@given(secret=SECRETS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kind_neither_model_nor_record_nor_page_shows_a_piece(secret: str, tmp_path: Path) -> None:
    """12: `model:` of a rejected configuration; a recording's head; the lines on the page, as many as the file has."""
    path = tmp_path / "reflexd.yaml"
    for model in (url_of(secret), f"admin:{secret}@{HOST}"):
        text = json.dumps({"lanes": {"a": {"source": {"driver": "camera.sim"}, "model": model}}}, ensure_ascii=False)
        path.write_text(text)
        with pytest.raises(ConfigError, match="no model package") as caught:
            load_config(path)
        assert not pieces_in(str(caught.value), secret), caught.value
        lines = collect.masked_lines(path)
        assert len(lines) == 1 and not pieces_in("".join(lines), secret), lines
    path.write_text(rtsp("rtsp://192.0.2.7/live", user="admin", password=secret))
    recorded = json.dumps(of_config(load_config(path), path, {}, 1), default=str)
    assert "192.0.2.7" in recorded and not pieces_in(recorded, secret)


def test_lines_are_counted_as_the_parser_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text("a: x\u2028y\nurl: admin:QZXJ\n  VKWY@h\nb: 1\n", encoding="utf-8")
    assert yamlfile.read(path).lines["b",] == 4
    assert yamlfile.split_lines(path.read_text()) == ["a: x\u2028y\n", "url: admin:QZXJ\n", "  VKWY@h\n", "b: 1\n"]
    assert collect.masked_lines(path) == ["a: x\u2028y", "url: ***", "@h", "b: 1"]
