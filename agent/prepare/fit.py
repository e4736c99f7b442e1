"""What a source delivers, into the interpreter's input tensor."""

from __future__ import annotations

from agent.data import Array
from agent.package import Package
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from agent.prepare.sound import Sound
from drivers.base import Camera, DeviceFault, Microphone, SensorStream, Stream

RATES_DIFFER = 0.02  # share: clocks of two devices differ by less, two settings by more


def fit_preparation(source: Stream, package: Package, reference: Array | None, shrink: int | None = 1) -> Preparation:
    """For a source that is open. reference, shrink: of pictures, see Pixels.

    Raises DeviceFault when the model wants something else than it delivers.
    """
    manifest, tensor = package.manifest, package.engine.inputs[0]
    if manifest.picture and isinstance(source, Camera):
        return Pixels(manifest.picture, tensor, source.pixels, reference, shrink)
    if manifest.window and isinstance(source, SensorStream):
        wanted, given = manifest.window.rate_hz, source.rate_hz
        if wanted and abs(given - wanted) > RATES_DIFFER * wanted:
            raise DeviceFault(
                f"model {package.name} wants {wanted:g} readings a second, the source gives {given:g}: set rate_hz"
            )
        return Readings(manifest.window, tensor, source.channels)
    if manifest.sound and isinstance(source, Microphone):
        return Sound(manifest.sound, tensor, source.rate_hz)
    kinds = {"pictures": manifest.picture, "readings": manifest.window, "sound": manifest.sound}
    wants = next((kind for kind, section in kinds.items() if section), "keypoints (name it under 'then')")
    raise DeviceFault(f"model {package.name} wants {wants}, which {type(source).__module__} does not give")
