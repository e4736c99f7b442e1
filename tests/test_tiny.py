"""The shortest path through the core: an arm, its model, a rule, a stop. Runs first, in two seconds."""

from itertools import islice

import numpy as np
import zmq

from agent import ledger
from agent.build import make_host, rules_of
from agent.commands.link import Address
from agent.commands.outbox import Outbox
from agent.config.load import load_config
from agent.lane import Lane, Limits
from agent.ledger import Ledger, parts, snapshot
from agent.packages import package
from agent.perception import Perception
from agent.rules.scene import Scene
from drivers.base import open_source
from tests.shared import ROOT

MS = 1_000_000
WHOLE = load_config(ROOT / "agent/scenes/robot-cell.yaml")
CELL = WHOLE.model_copy(
    update={"lanes": {"arm": WHOLE.lanes["arm"]}, "rules": {"arm-off-plan": WHOLE.rules["arm-off-plan"]}}
)
BAD_FROM_MS = 200


def make_lane(pace, samples=0):
    """The lane of the robot cell; its arm leaves the plan after 0.2 s."""
    fault = {"kind": "deviation", "at_s": BAD_FROM_MS / 1000, "for_s": 10}
    arm = open_source(CELL.lanes["arm"].source.driver, {"pace": pace, "faults": [fault]}, "arm")
    opened = package.open_package(package.find(CELL.lanes["arm"].model))
    return Lane("arm", arm, Perception(opened), Limits(500 * MS, 2.0, stop_after=samples), Ledger(None, "arm", 2.0))


def make_scene():
    return Scene(rules_of(CELL))


def replay(count):
    """(ms since the first sample, verb) of every decision about the first `count` samples."""
    played = islice(make_lane("fast").play(make_scene()), count)
    return [
        (sample.sequence, decision.verb, decision.deadline and (decision.deadline - sample.t_capture) / MS)
        for sample, decisions in played
        for decision in decisions
    ]


def test_a_sample_becomes_a_decision_and_a_replay_the_same():
    rest, stop = replay(450)
    length = package.read(package.find("arm-deviation")).window.length
    assert rest == (length - 1, "run", 0)
    assert BAD_FROM_MS < stop[0] < 2 * BAD_FROM_MS
    assert stop[1:] == ("stop", 10.0)
    assert replay(450) == [rest, stop]


def test_from_the_arm_to_the_stop_over_real_sockets(tmp_path):
    """Sense, decide, act; every part of the latency is in the ledger."""
    cell = CELL.model_copy(update={"run_dir": tmp_path, "realtime": False})
    host = make_host(cell)
    host.start()
    context, lane = zmq.Context(), make_lane("real", samples=500)
    outbox = Outbox(context, [Address("robot", cell.endpoint("robot"), 100.0)], f"{cell.node}/arm", 1, lane.ledger)
    lane.run(make_scene(), outbox)  # to the end of its 500 samples, half a second
    host.stop()
    context.destroy(linger=0)
    contents = snapshot(lane.ledger.memory)
    assert contents.state == ledger.STATES[ledger.ENDED]
    assert contents.counts["samples"] >= 500
    assert contents.counts["decisions"] == contents.counts["sent"] == 2
    assert contents.counts["applied"] >= 1
    verbs = [movement.verb for movement in host.servers[0].driver.history]
    assert verbs[:3] == ["stop", "run", "stop"]
    applied = contents.rows[contents.rows["applied"] > 0]
    in_order = np.stack([applied[name] for name in ("capture", "read", "prepared", "inferred", "decided", "applied")])
    assert (np.diff(in_order, axis=0) >= 0).all()
    assert set(parts(applied)) == {*ledger.PARTS, "total"}
