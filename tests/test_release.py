"""A model's input leaves this box only for whom the lane's `release` names: by type, and on the wire."""

from __future__ import annotations

import copy
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.benches.programs import free_port
from agent.benches.proxy import Proxy
from agent.open_inference.http_client import Client
from agent.open_inference.release import NOBODY, NotReleased, OwnInputs, Recipient, Release, Released, opened
from agent.open_inference.server import parse
from agent.packages import package
from agent.packages.outputs import ModelFault
from tests.byte_search import Inputs, search
from tests.serving import parameters, remote_package, serving
from tests.test_raw_data import RAW

FAR = Recipient("gpu-1", here=False, encrypted=True)
PICTURE = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)


def test_an_input_is_released_only_to_whom_the_lane_names() -> None:
    assert opened(Release(["gpu-1"]).give(PICTURE, FAR), FAR) is PICTURE
    for release in (NOBODY, Release(["gpu-2"]), Release(["GPU-1"])):
        with pytest.raises(NotReleased, match="'gpu-1' is not in the lane's 'release"):
            release.give(PICTURE, FAR)


def test_beyond_this_box_only_over_an_encrypted_link() -> None:
    plain = FAR._replace(encrypted=False)
    with pytest.raises(NotReleased, match="not encrypted: use https:// or grpcs://"):
        Release(["gpu-1"]).give(PICTURE, plain)
    assert Release(["gpu-1"]).give(PICTURE, plain._replace(here=True))


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: type(raw).__name__)
def test_no_sender_takes_raw_data(raw: Any) -> None:
    with pytest.raises(TypeError, match="is no released input: a model's input stays on this box"):
        opened(raw, FAR)


def test_a_release_is_for_one_recipient_and_nobody_else_makes_one() -> None:
    released = Release(["gpu-1"]).give(PICTURE, FAR)
    with pytest.raises(TypeError, match="released to gpu-1, not to gpu-2"):
        opened(released, FAR._replace(name="gpu-2"))
    with pytest.raises(TypeError, match="only Release.give"):
        Released(PICTURE, FAR, object())
    assert repr(released) == "<input released to gpu-1>"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="kept nowhere"):
            leak(released)


def test_a_client_of_a_server_opens_no_other_ones_input() -> None:
    client = Client(parse("gpu-2", f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(TypeError, match="released to gpu-1, not to gpu-2"):
        client.infer("m", "", "x", Release(["gpu-1"]).give(PICTURE, FAR), [], time.monotonic_ns() + 10**9)
    with pytest.raises(TypeError, match="ndarray is no released input"):
        client.infer("m", "", "x", PICTURE, [], time.monotonic_ns() + 10**9)  # type: ignore[arg-type]


class Wire:
    """A proxy before a served box that keeps what a client sends."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.proxy = Proxy(self.port, target)

    @property
    def sent(self) -> bytes:
        return b"".join(data for _, data in self.proxy.recorded)


def picture(opened_package: package.Package) -> dict[str, Any]:
    """A picture with noise on every pixel in its input; marks by which it is recognised."""
    array = opened_package.network.input(0)
    limits = np.iinfo(array.dtype)
    array[...] = np.random.default_rng(1).integers(limits.min, limits.max, array.shape, endpoint=True)
    inputs = Inputs()
    inputs.add("tensor", array)
    return inputs.marks()


def test_without_a_release_no_bit_of_it_is_on_the_wire(tmp_path: Path) -> None:
    """The package's own golden inputs are, and with a release the same search finds the picture."""
    with serving("person-coarse") as box:
        wire = Wire(box.port)
        folder = remote_package(
            tmp_path / "p", "person-coarse", parameters("person-coarse", f"http://127.0.0.1:{wire.port}")
        )
        remote = package.open_package(folder)
        assert remote.golden is not None and remote.golden < 1
        marks = picture(remote)
        for release in (NOBODY, Release(["gpu-2"])):
            remote.network.permit(release)
            with pytest.raises(ModelFault, match="the input of its model stays here: 'gpu-1' is not in the lane's"):
                remote.infer()
        assert len(wire.sent) > 1000 and search(marks, {"wire": wire.sent}) == {}
        remote.network.permit(Release(["gpu-1"]))
        remote.infer()
        assert search(marks, {"wire": wire.sent}) == {"tensor": {"wire"}}
        wire.proxy.close()


def test_with_tls_no_bit_of_it_is_readable_on_the_wire(tmp_path: Path) -> None:
    with serving("person-coarse", keys=tmp_path / "keys") as box:
        wire = Wire(box.port)
        content = parameters("person-coarse", f"https://127.0.0.1:{wire.port}")
        keys = {"ca": str(tmp_path / "keys/web.crt"), "token_file": str(tmp_path / "keys/web.token")}
        remote = package.open_package(remote_package(tmp_path / "p", "person-coarse", {**content, **keys}))
        marks = picture(remote)
        remote.network.permit(Release(["gpu-1"]))
        remote.infer()
        token = (tmp_path / "keys/web.token").read_bytes().strip()
        assert len(wire.sent) > remote.network.input(0).nbytes
        assert search(marks, {"wire": wire.sent}) == {} and token not in wire.sent
        wire.proxy.close()


def test_golden_inputs_go_to_any_server() -> None:
    assert opened(OwnInputs().give(PICTURE, FAR._replace(encrypted=False)), FAR._replace(encrypted=False)) is PICTURE
