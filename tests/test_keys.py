"""Key files: made once, readable by their owner only; a file that is not a key is named."""

import os
import stat
import subprocess
import sys

import pytest

from agent import keys


def test_only_the_owner_can_read_the_secret_key(tmp_path):
    public, secret = keys.make(tmp_path / "keys", "box")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert keys.read(public) == (keys.read_secret(secret)[0], None)


def test_a_key_is_not_overwritten(tmp_path):
    public, secret = keys.make(tmp_path, "box")
    before = secret.read_bytes()
    for removed in (None, public):
        if removed:
            removed.unlink()
        with pytest.raises(
            FileExistsError, match="would lock out every box that knows the old one: choose another FOLDER or --name"
        ):
            keys.make(tmp_path, "box")
    assert secret.read_bytes() == before


def test_two_keys_are_never_the_same(tmp_path):
    assert keys.read(keys.make(tmp_path, "a")[0]) != keys.read(keys.make(tmp_path, "b")[0])


@pytest.mark.parametrize(
    "raw", [None, b"", b"\xff\xfe", b"public-key\n", b'public-key = "short"\n', b"metadata\ncurve\n"]
)
def test_a_file_that_is_not_a_key_is_named(tmp_path, raw):
    path = tmp_path / "x.key"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(OSError, match="key file .*x.key.*make one with 'reflexd keys DIR'"):
        keys.read(path)


def test_a_public_key_is_refused_as_a_secret_one(tmp_path):
    public, _ = keys.make(tmp_path, "box")
    with pytest.raises(OSError, match="holds no secret key: name the .key_secret file"):
        keys.read_secret(public)


def test_the_command_makes_keys(tmp_path):
    run = [sys.executable, "-m", "agent", "keys", str(tmp_path / "k"), "--name", "cell-1"]
    first = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert first.returncode == 0
    assert sorted(os.listdir(tmp_path / "k")) == ["cell-1.key", "cell-1.key_secret"]
    again = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_a_pipe_is_no_key_file(tmp_path):
    """To open it would wait without end."""
    os.mkfifo(tmp_path / "x.key")
    with pytest.raises(OSError, match="x.key"):
        keys.read(tmp_path / "x.key")


def test_a_secret_key_of_another_public_key_is_refused(tmp_path):
    (public, secret), (other, _) = (keys.make(tmp_path, name) for name in ("a", "b"))
    mine, others = keys.read(public)[0].decode(), keys.read(other)[0].decode()
    secret.write_text(secret.read_text().replace(mine, others))
    with pytest.raises(OSError, match="its secret key is not the one of its public key"):
        keys.read_secret(secret)


def test_without_a_key_file_there_is_no_curve(tmp_path):
    assert keys.curve(None, tmp_path / "edge.key") is None
    assert keys.curve(tmp_path / "edge.key_secret", None) is None
