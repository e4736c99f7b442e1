"""What a box computes for others: its own lanes first, in the order of the deadlines, by the protocol's rules."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from agent.data import Array
from agent.offload.busy import BusyMeter, parse
from agent.offload.links import join, split, wire_names
from agent.offload.served import Admission, Refused, Served, ServedModel
from agent.open_inference import messages
from agent.packages import package
from tests.serving import Box, serving
from tests.waiting import until

MODEL = "person-coarse"
SOON = 60_000_000_000


def later() -> int:
    return time.monotonic_ns() + SOON


class Slow:
    """A model that computes when it is released."""

    name = version = "slow"
    checksum = "5" * 64
    p99_ms = 1.0

    def __init__(self) -> None:
        self.inputs = ServedModel(MODEL, package.open_package(package.find(MODEL))).inputs
        self.outputs = self.inputs
        self.go, self.began = threading.Semaphore(0), threading.Event()
        self.order: list[int] = []
        self.policy = -1

    def infer(self, array: Array) -> list[Array]:
        self.began.set()
        self.policy = os.sched_getscheduler(0)
        self.go.acquire()
        self.order.append(int(array.ravel()[0]))
        return [array]


@pytest.fixture
def slow() -> Iterator[tuple[Served, Slow]]:
    model = Slow()
    served = Served({"slow": model}, lambda: 0.0, Admission(0.7, 3))  # type: ignore[dict-item]
    yield served, model
    for _ in range(20):
        model.go.release()
    served.close()


def job(served: Served, number: int, deadline: int) -> Future[list[Array]]:
    stated = served.named["slow"].inputs[0]
    return served.submit("slow", np.full(stated.shape, number, stated.dtype), deadline)


def test_the_earliest_deadline_is_computed_first_on_a_worker_that_lanes_never_wait_for(
    slow: tuple[Served, Slow],
) -> None:
    served, model = slow
    first = job(served, 0, later())
    assert model.began.wait(60)
    end = later()
    others = [job(served, number, end + number * 1000) for number in (3, 1, 2)]
    for _ in range(4):
        model.go.release()
    for each in (first, *others):
        each.result(60)
    assert model.order == [0, 1, 2, 3] and model.policy == os.SCHED_IDLE


def test_of_a_full_queue_the_latest_deadline_goes(slow: tuple[Served, Slow]) -> None:
    served, model = slow
    job(served, 0, later())
    assert model.began.wait(60)
    end = later()
    latest = job(served, 9, end + 9000)
    kept = [job(served, number, end + number * 1000) for number in (1, 2, 3)]
    with pytest.raises(Refused, match="3 jobs wait already") as refused:
        latest.result(60)
    assert refused.value.busy and served.refused == 1
    for _ in range(4):
        model.go.release()
    assert [each.result(60)[0].ravel()[0] for each in kept] == [1, 2, 3]


def test_what_would_end_too_late_is_not_begun(slow: tuple[Served, Slow]) -> None:
    served, model = slow
    with pytest.raises(Refused, match="would not be computed in time"):
        job(served, 1, time.monotonic_ns()).result(60)
    assert model.order == []


def test_one_that_nobody_waits_for_any_more_is_not_begun(slow: tuple[Served, Slow]) -> None:
    served, model = slow
    first = job(served, 0, later())
    assert model.began.wait(60)
    given_up, wanted = job(served, 1, later()), job(served, 2, later())
    assert given_up.cancel()
    for _ in range(3):
        model.go.release()
    first.result(60), wanted.result(60)
    assert model.order == [0, 2]


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with serving(MODEL, admission=Admission(0.7, 8)) as served:
        yield served


def test_bytes_come_and_go_without_a_protocol(box: Box) -> None:
    """The interface of any other link."""
    local = package.open_package(package.find(MODEL))
    tensor, engine = local.network.inputs[0], local.network
    array = np.load(local.folder / "golden.npz")["input_0"][:1].reshape(tensor.shape)
    engine.input(0)[...] = array
    engine.invoke()
    checksum, dtype = local.manifest.checksum, np.dtype(tensor.dtype)
    data = box.served.infer(checksum, array.tobytes(), tensor.shape, dtype.name, later())
    outputs = split(data, engine.outputs)
    assert all(np.array_equal(each, engine.output(index)) for index, each in enumerate(outputs))
    assert join(outputs) == data
    for wrong in (
        ("0" * 64, array.tobytes(), tensor.shape, dtype.name),
        (checksum, array.tobytes()[1:], tensor.shape, dtype.name),
        (checksum, array.tobytes(), (1, 2), dtype.name),
        (checksum, array.tobytes(), tensor.shape, "float64"),
    ):
        with pytest.raises(Refused):
            box.served.infer(*wrong, later())
    with pytest.raises(Refused, match="in time"):
        box.served.infer(checksum, array.tobytes(), tensor.shape, dtype.name, time.monotonic_ns())


def test_its_own_lanes_come_first(box: Box) -> None:
    box.busy = 0.71
    try:
        status, content = post(box, *good(box))
        assert (status, content["error"]) == (503, "this box is 71% busy with its own lanes")
    finally:
        box.busy = 0.0
    assert post(box, *good(box))[0] == 200


def good(box: Box) -> tuple[bytes, dict[str, str]]:
    stated = box.served.named[MODEL].inputs[0]
    message = messages.write_request(
        {stated.name: np.zeros(stated.shape, stated.dtype)}, [], True, timeout_us=60_000_000
    )
    return message.body, {messages.HEADER: str(message.header)}


def post(box: Box, body: bytes, headers: dict[str, str], model: str = MODEL) -> tuple[int, Any]:
    request = Request(f"{box.url}/v2/models/{model}/infer", body, headers)
    try:
        with urlopen(request, timeout=90) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_request_that_is_none_is_an_error_of_the_protocol(box: Box) -> None:
    body, headers = good(box)
    stated = box.served.named[MODEL].inputs[0]
    wrong = messages.write_request({stated.name: np.zeros((1, 2), stated.dtype)}, [], binary=True)
    other = messages.write_request({"q": np.zeros(stated.shape, stated.dtype)}, [], binary=False)
    unknown = messages.write_request({stated.name: np.zeros(stated.shape, stated.dtype)}, ["q"], binary=False)
    for status, part, request in (
        (400, "is no JSON", (body[1:], headers)),
        (400, "is no JSON", (body, {})),
        (400, "takes '", (wrong.body, {messages.HEADER: str(wrong.header)})),
        (400, "takes one input", (other.body, {})),
        (400, "has no output 'q'", (unknown.body, {})),
        (413, "Too Large", (bytes(1 << 22), {})),
    ):
        assert post(box, *request)[0] == status and part in post(box, *request)[1]["error"], part
    status, content = post(box, body, headers, "unheard-of")
    assert status == 404 and "no model 'unheard-of' is served here" in content["error"]
    assert post(box, body, headers)[0] == 200


def test_a_client_that_sends_nothing_keeps_nobody_waiting(box: Box) -> None:
    async def idle() -> int:
        pairs = [await asyncio.open_connection("127.0.0.1", box.port) for _ in range(20)]
        for _, writer in pairs:
            writer.write(b"POST /v2/models/person-coarse/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            await writer.drain()
        status, _ = await asyncio.to_thread(post, box, *good(box))
        for _, writer in pairs:
            writer.close()
        return status

    assert asyncio.run(idle()) == 200


def test_without_its_token_nothing_is_answered(tmp_path: Path) -> None:
    import ssl

    with serving(MODEL, keys=tmp_path / "keys") as box:
        trust = ssl.create_default_context(cafile=str(tmp_path / "keys/web.crt"))
        token = (tmp_path / "keys/web.token").read_text().strip()
        for path in ("/v2", "/v2/reflexd", f"/v2/models/{MODEL}", "/v2/health/ready", "/unheard-of"):
            for given in ("", "Bearer x", token[:-1]):
                with pytest.raises(HTTPError, match="401"):
                    urlopen(Request(box.url + path, headers={"Authorization": given}), context=trust, timeout=90)
        state = Request(f"{box.url}/v2/reflexd", headers={"Authorization": f"Bearer {token}"})
        with urlopen(state, context=trust, timeout=90) as answer:
            content = json.loads(answer.read())
        assert content["busy"] == 0.0 and list(content["models"]) == [box.served.named[MODEL].checksum]


def test_a_name_of_its_own_for_each_tensor() -> None:
    tensors = package.open_package(package.find(MODEL)).network.outputs
    twice = [*tensors[:1], *tensors[:1], tensors[0]._replace(name=""), tensors[0]._replace(name="b\n")]
    assert wire_names(twice, "output") == ["output_0", "output_1", "output_2", "output_3"]


STAT = """cpu  100 0 0 100 0 0 0 0 0 0
cpu0 50 5 5 30 10 0 0 0 7 7
cpu1 10 0 0 90 0 0 0 0 0 0
intr 1 2 3
"""


def test_how_busy_the_cores_are_is_read_from_the_kernel() -> None:
    assert parse(STAT, [0]) == (60, 100) and parse(STAT, [0, 1]) == (70, 200) and parse(STAT, [7]) == (0, 0)
    meter, own = BusyMeter(), BusyMeter(without_own=True)
    assert (meter(), own()) == (0.0, 0.0)
    stop = threading.Event()
    worker = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(stop.is_set, True)], daemon=True)
    worker.start()
    until(lambda: meter() > 0.2, "this process is busy")
    until(lambda: own() < meter(), "what it uses itself counts as free")
    stop.set()
    worker.join()
