"""The preparation for a source and a model, made when the source opens."""

from __future__ import annotations

from agent.data import Array
from agent.packages.package import Package
from agent.prepare.base import Preparation
from agent.prepare.decimate import rate_mistake
from agent.prepare.evidence import RemoteFindings
from agent.prepare.features import FeatureSound
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from agent.prepare.sound import Sound
from drivers.base import Camera, DeviceFault, Microphone, SensorStream, Stream
from drivers.remote import BYTES, RemoteEvidence


def make_preparation(source: Stream, package: Package, reference: Array | None, shrink: int | None = 1) -> Preparation:
    """For a source that is open. reference, shrink: of pictures, see Pixels.

    Raises DeviceFault when the model needs something else than the source delivers.
    """
    manifest, tensor = package.manifest, package.engine.inputs[0]
    if manifest.picture and isinstance(source, Camera):
        return Pixels(manifest.picture, tensor, source.pixels, reference, shrink)
    if manifest.window and isinstance(source, SensorStream):
        if mistake := rate_mistake(manifest.window.rate_hz, source.rate_hz, package.name):
            raise DeviceFault(mistake)
        return Readings(manifest.window, tensor, source.channels, source.rate_hz)
    if manifest.sound and isinstance(source, Microphone):
        if manifest.sound.features:
            return FeatureSound(manifest.sound, manifest.sound.features, tensor, source.rate_hz)
        return Sound(manifest.sound, tensor, source.rate_hz)
    if manifest.evidence and isinstance(source, RemoteEvidence) and tensor.shape[1] >= BYTES:
        return RemoteFindings()
    kinds: dict[str, object] = {"pictures": manifest.picture, "readings": manifest.window, "sound": manifest.sound}
    kinds["evidence of other boxes"] = manifest.evidence
    needs = next((kind for kind, section in kinds.items() if section), "keypoints (name it under 'then')")
    raise DeviceFault(f"model {package.name} wants {needs}, which {type(source).__module__} does not give")
