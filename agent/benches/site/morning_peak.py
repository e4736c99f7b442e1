"""A simulation of three boxes in the morning peak of one: late frames, with and without a forecast.

Discrete events on a simulated clock, no network and no model: one queue a box, first come first served; lanes are
handed over by the load of now, or by the larger of that and the forecast.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from agent.benches.site import traffic
from agent.benches.site.traffic import Day
from agent.forecast import AHEAD_S, BusyAhead

LANES = 8
SERVICE_S, BUDGET_S = 0.006, 0.050  # MoveNet on a small processor; capture to applied
PEAK_BUSY = 1.15  # the box's own work at the day's peak: more than it can do
PEER_BUSY = 0.2
START, STOP = 0.8, 0.6  # of the box's time, as `offload` has them
GAIN = 0.1  # the peer is less busy by that, or nothing is handed over
MOVE_S = 2.0  # from the decision until the lane runs on the other box
HOUR_S, FIRST, LAST = 30.0, 4.0, 10.0
HERE, PEERS = 0, (1, 2)


class Outcome(NamedTuple):
    """Of the box in its peak. late: frames past the budget, wherever they ran. away_s: lane seconds on peers."""

    frames: int
    late: int
    away_s: float


def measure(days: list[Day]) -> dict[str, Any]:
    """Late frames of both, and of a third without a forecast that starts at so low a load that as much is away.

    Without that third one the gain might only be that lanes are away for longer.
    """
    rows = {
        "no_forecast": _sum([_play(day, seed, START, False) for seed, day in enumerate(days)]),
        "forecast": _sum([_play(day, seed, START, True) for seed, day in enumerate(days)]),
    }
    start = START
    while start > STOP + 0.02:
        start -= 0.01
        rows["lower_start"] = _sum([_play(day, seed, start, False) for seed, day in enumerate(days)])
        if rows["lower_start"].away_s >= rows["forecast"].away_s:
            break
    return {"mornings": len(days), "lower_start_at": round(start, 2), **{key: _row(rows[key]) for key in rows}}


def _sum(outcomes: list[Outcome]) -> Outcome:
    return Outcome(*(sum(column) for column in zip(*outcomes)))


def _row(outcome: Outcome) -> dict[str, float]:
    late = round(100.0 * outcome.late / outcome.frames, 3)
    return {"frames": outcome.frames, "late": outcome.late, "late_percent": late, "away_s": round(outcome.away_s)}


class _Sharing:
    """How many lanes are on the peers, which get them in turns. Decides once a second, and moves one lane at a time."""

    def __init__(self, start: float, forecast: bool) -> None:
        self.start, self.forecast = start, forecast
        self.ahead = BusyAhead()
        self.away = 0  # lanes of the lowest numbers
        self.moving: tuple[float, int] | None = None  # when it is done, how many are away then

    def decide(self, now: float, offered: float) -> None:
        """offered: work of all lanes in the last second, wherever they ran, as a share of this box's time."""
        moved = offered * self.away / LANES
        busy = min(1.0, offered - moved)
        expected = self.ahead(busy, moved, now) if self.forecast else busy
        if self.moving and now >= self.moving[0]:
            self.away, self.moving = self.moving[1], None
        if self.moving:
            return
        peer = PEER_BUSY + moved / len(PEERS)
        if expected > self.start and peer + GAIN < expected and self.away < LANES:
            self.moving = now + MOVE_S, self.away + 1
        elif self.away and expected + offered / LANES < min(STOP, self.start):
            self.moving = now + MOVE_S, self.away - 1


def _play(day: Day, seed: int, start: float, forecast: bool) -> Outcome:
    random = np.random.default_rng(seed)  # the same frames for each way of sharing
    rates = traffic.rate(day, HOUR_S, PEAK_BUSY / SERVICE_S, FIRST, LAST)
    sharing, free_at = _Sharing(start, forecast), [0.0] * (1 + len(PEERS))
    frames = late = 0
    away_s = 0.0
    for second, rate in enumerate(rates):
        arrivals = _arrivals(random, second, rate)
        for at, lane in arrivals:
            own = lane < LANES  # else of a peer
            box = HERE if sharing.away <= lane < LANES else PEERS[lane % len(PEERS)]
            free_at[box] = max(at, free_at[box]) + SERVICE_S
            frames += own
            late += own and free_at[box] - at > BUDGET_S
        away_s += sharing.away
        sharing.decide(second + 1.0, sum(lane < LANES for _, lane in arrivals) * SERVICE_S)
    return Outcome(frames, late, away_s)


def _arrivals(random: np.random.Generator, second: int, rate: float) -> list[tuple[float, int]]:
    """(time, lane) in order; the peers' own frames have the lanes from LANES on."""
    count, others = random.poisson(rate), random.poisson(len(PEERS) * PEER_BUSY / SERVICE_S)
    times = second + random.random(count + others)
    own, of_peers = random.integers(0, LANES, count), random.integers(0, len(PEERS), others) + LANES
    lanes = np.concatenate([own, of_peers])
    return sorted(zip(times.tolist(), lanes.tolist()))


def text(result: dict[str, Any]) -> str:
    names = {
        "no_forecast": f"above {START:.0%} busy",
        "forecast": f"above {START:.0%} now or in {AHEAD_S} s",
        "lower_start": f"above {result['lower_start_at']:.0%} busy",
    }
    lines = [f"simulation: {result['mornings']} mornings, hands a lane over ...   late frames        lane seconds away"]
    for key, name in names.items():
        row = result[key]
        lines.append(
            f"  {name:<28}{row['late']:>8} of {row['frames']} ({row['late_percent']:.2f} %){row['away_s']:>10.0f}"
        )
    return "\n".join(lines)
