"""`reflexd bench senses`: what gates, reduced decoding, coarse models and fusion save and cost on real recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.benches import bedside, crossing, full_hd, fusion, gating, perimeter
from agent.benches.recordings import SHARED
from agent.box.machine import machine
from agent.errors import DataError
from agent.gates.config import GateConfig
from agent.packages import package

VARIANTS = (("every frame", ""), ("gated", "_gated"))  # name in the text, suffix of the JSON key


def measure(data: Path | None, short: bool = False) -> dict[str, Any]:
    """data: laid out like ../shared/data, which is the default. Raises DataError."""
    data = data or SHARED
    if not (data / perimeter.CLIP).is_file():
        raise DataError(f"{data / perimeter.CLIP}: no such recording: give --data DIR, laid out like ../shared/data")
    gate = GateConfig.model_validate(gating.GATE)
    return {
        "short": short,
        "gates": gating.measure(data),
        "full_hd": full_hd.gate_and_preparation(data, short),
        "reduced": full_hd.reduced(data, package.open_package(package.find("movenet")), short),
        "coarse": gating.evidence_bytes(data, short),
        "fusion": fusion.measure(short),
        "machine": machine(),
        "scenes": {
            "perimeter": perimeter.measure(data, None),
            "perimeter_gated": perimeter.measure(data, gate),
            "bedside": {**bedside.measure(data, None, short), "frame_to_decision": bedside.step_ms(data)},
            "bedside_gated": bedside.measure(data, gate, short),
            "crossing": crossing.measure(data, None),
            "crossing_gated": crossing.measure(data, gate),
        },
    }


def text(result: dict[str, Any]) -> str:
    """The same in sentences."""
    lines = [_gates(result["gates"])]
    for layout, ms in result["full_hd"].items():
        lines.append(f"1080p {layout}: gate and preparation p50 {ms['p50_ms']} ms, p99 {ms['p99_ms']} ms")
    lines += [_reduced(name, figures) for name, figures in result["reduced"].items()]
    coarse, fused, scenes = result["coarse"], result["fusion"], result["scenes"]
    lines += [
        f"coarse lane: {coarse['frame_bytes']} bytes in, {coarse['evidence_bytes_mean']} out "
        f"(at most {coarse['evidence_bytes_max']})",
        *(_bedside(name, scenes[f"bedside{suffix}"]) for name, suffix in VARIANTS),
        f"bedside, frame to decision: {_quantiles(scenes['bedside']['frame_to_decision'])}",
        f"fusion of {fused['lanes']} lanes, last evidence to command: {_quantiles(fused)} "
        f"({fused['decisions']} decisions)",
        *(_perimeter(name, scenes[f"perimeter{suffix}"]) for name, suffix in VARIANTS),
        *(_crossing(name, scenes[f"crossing{suffix}"]) for name, suffix in VARIANTS),
        result["machine"],
    ]
    return "\n".join(lines)


def _gates(gates: dict[str, Any]) -> str:
    return (
        f"{gates['clip']}: {gates['frames']} frames, {gates['not_inferred_percent']} % not inferred; "
        f"{gates['appearances_detected']} of {gates['appearances']} appearances detected, at the latest "
        f"{gates['latest_frames']} frames after inference on every frame; the same answer at "
        f"{gates['same_answer_percent']} % of frames"
    )


def _reduced(name: str, figures: dict[str, Any]) -> str:
    return (
        f"1080p {name} to a pose network, reduced: {figures['full_ms']} -> {figures['reduced_ms']} ms "
        f"({figures['saved_percent']} % saved), keypoints {figures['keypoints_mean']} of the frame off, "
        f"{figures['keypoints_within_0.03_percent']} % within 0.03"
    )


def _bedside(name: str, scene: dict[str, Any]) -> str:
    return (
        f"bedside, {name}: {scene['frames_inferred']} frames inferred, {scene['falls_in_time']} of {scene['falls']} "
        f"falls in 2 s (the last {scene['latest_s']} s), "
        f"daily clips with a false alarm: {scene['daily_clips_with_false_alarm']}"
    )


def _perimeter(name: str, scene: dict[str, Any]) -> str:
    return (
        f"perimeter, {name}: {scene['frames_inferred_percent']} % of frames inferred, {scene['persons_detected']} "
        f"persons detected, precision {scene['precision']}, recall {scene['recall']}"
    )


def _crossing(name: str, scene: dict[str, Any]) -> str:
    return (
        f"crossing, {name}: {scene['frames_inferred_percent']} % of frames inferred, {scene['cars']} cars in "
        f"{scene['labelled_frames']} labelled frames: precision {scene['precision']}, recall {scene['recall']}; "
        f"the count is right in {scene['frames_counted_right_percent']} % of all frames"
    )


def _quantiles(figures: dict[str, Any]) -> str:
    return ", ".join(f"{key.removesuffix('_ms')} {value} ms" for key, value in figures.items() if key.endswith("_ms"))
