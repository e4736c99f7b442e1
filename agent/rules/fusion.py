"""Several sources, one confidence: weights of evidence add up as log-odds.

I. J. Good, Probability and the Weighing of Evidence, 1950; naive Bayes: the sources err independently of each other.
"""

from __future__ import annotations

from math import exp, log

from agent.data import Decision, Evidence

MAX_PROBABILITY = 0.99  # no single score counts for more: a network with score 1.0 errs, too


def log_odds(probability: float) -> float:
    """Natural logarithm of p / (1 - p), p limited to 0.01 .. 0.99."""
    p = min(max(probability, 1.0 - MAX_PROBABILITY), MAX_PROBABILITY)
    return log(p / (1.0 - p))


def probability(odds: float) -> float:
    """The inverse of log_odds, for any finite number."""
    return 1.0 / (1.0 + exp(-min(max(odds, -500.0), 500.0)))


def explain(decision: Decision) -> str:
    """Its reasons in words: "fall 0.91 at -420 ms, heart-rate-jump +38 bpm at 0 ms; confidence 0.97"."""
    reasons = ", ".join(_describe(item, decision.t_capture) for item in decision.evidence)
    missing_lanes = f"; without {', '.join(dict.fromkeys(decision.missing_lanes))}" if decision.missing_lanes else ""
    confidence = f"; confidence {decision.confidence:.2f}" if decision.confidence else ""
    return (reasons or ("no evidence" if decision.rule else "no rule holds")) + missing_lanes + confidence


def _describe(item: Evidence, t_capture: int) -> str:
    mark = f" {item.mark}" if item.mark else ""
    return f"{item.label} {item.score:.2f}{mark} at {round((item.t_capture - t_capture) / 1e6)} ms"
