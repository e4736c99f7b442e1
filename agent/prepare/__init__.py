"""What a source delivers, into the interpreter's input tensor."""

from __future__ import annotations

from agent.data import Array
from agent.package import Package
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from drivers.base import Camera, DeviceFault, SensorStream, Stream


def fit(source: Stream, package: Package, reference: Array | None) -> Preparation:
    """For a source that is open. Raises DeviceFault when the model wants something else than it delivers."""
    manifest, tensor = package.manifest, package.engine.inputs[0]
    if manifest.picture and isinstance(source, Camera):
        return Pixels(manifest.picture, tensor, source.pixels, reference)
    if manifest.window and isinstance(source, SensorStream):
        return Readings(manifest.window, tensor, source.channels)
    wants = "pictures" if manifest.picture else "readings" if manifest.window else "keypoints (name it under 'then')"
    raise DeviceFault(f"model {package.name} wants {wants}, which {type(source).__module__} does not give")
