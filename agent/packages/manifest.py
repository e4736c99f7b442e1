"""The manifest of a model package: only what the model file does not contain itself."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from agent.box.files import leads_out
from agent.section import Section


def _stays_inside(name: str) -> str:
    if leads_out(name):
        raise ValueError("expected a file in the package's folder: no absolute path, no '..'")
    return name


AUTO = "auto"  # the backend that is fastest on the machine (packages/engines.py)

PackageFile = Annotated[str, AfterValidator(_stays_inside)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Picture(Section):
    """How pixels become the input: real value = (pixel - mean) / std, pixel 0..255."""

    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0
    fit: Literal["stretch", "letterbox"] = "stretch"
    resize: Literal["linear", "area"] = "linear"
    reference: bool = Field(
        False, description="input [1, height, width, 2]: the camera's picture, and the lane's reference"
    )

    @model_validator(mode="after")
    def _one_or_three(self) -> Picture:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, list) and len(value) != (1 if self.colour == "grey" else 3):
                raise ValueError(f"{name} is one number, or one per colour")
        if 0.0 in (self.std if isinstance(self.std, list) else [self.std]):
            raise ValueError("std must not be 0")
        if self.reference and self.colour != "grey":
            raise ValueError("a reference is compared in grey: set 'colour: grey'")
        return self

    @property
    def channels(self) -> int:
        return 2 if self.reference else 1 if self.colour == "grey" else 3


class Window(Section):
    """How readings become the input [1, length, channels]: real value = (reading - mean) / std, oldest row first."""

    channels: list[str] = Field(min_length=1)
    length: int = Field(ge=1, le=100_000)
    hop: int = Field(1, ge=1, description="infer on every hop-th reading")
    rate_hz: float = Field(0.0, ge=0, description="at which the model wants its readings; 0: any")
    mean: list[float]
    std: list[float]

    @model_validator(mode="after")
    def _one_per_channel(self) -> Window:
        if not len(self.channels) == len(self.mean) == len(self.std):
            raise ValueError("channels, mean and std must have the same length")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.length, len(self.channels)


class Poses(Section):
    """How keypoints over time become the input [1, length, 51]: a row each `every_ms`, newest last (poses.py)."""

    length: int = Field(ge=2, le=256)
    every_ms: float = Field(100.0, ge=10, le=1000)
    min_score: float = Field(0.2, ge=0, le=1, description="keypoints below this are not detected")
    lasting: list[str] = Field([], description="labels that stay true while the person is no longer detected")
    memory_s: float = Field(60.0, ge=0, le=86400, description="for this long")

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.length, 51


class SoundFeatures(Section):
    """How sound becomes the input [1, frames, width(, 1)]: spectra of frames, oldest first (prepare/features.py)."""

    frame: int = Field(ge=16, le=65_536, description="values in one frame")
    step: int = Field(ge=1, le=65_536, description="values from one frame to the next")
    bands: int = Field(ge=1, le=1024, description="triangles of equal width on the mel scale")
    mel: Literal["htk", "slaney"] = Field(
        "htk", description="scale; htk: triangles of one height, as in tf.signal; slaney: of one area, as in librosa"
    )
    power: Literal[1, 2] = Field(1, description="of the spectrum that the bands add up: 1 magnitude, 2 energy")
    log: Literal["ln", "db"] = Field("ln", description="of a band; db: 20 / power * log10")
    low_hz: float = Field(20.0, ge=0, description="lower edge of the first band")
    high_hz: float = Field(gt=0, description="upper edge of the last band")
    coefficients: int = Field(0, ge=0, le=1024, description="first ones of a DCT of the bands (MFCC); 0: the bands")
    floor: float = Field(1e-6, gt=0, description="added to a band before its logarithm")
    peak: bool = Field(False, description="the window is divided by its highest value first")

    @model_validator(mode="after")
    def _fits(self) -> SoundFeatures:
        if self.low_hz >= self.high_hz:
            raise ValueError("low_hz must be below high_hz")
        if self.coefficients > self.bands:
            raise ValueError("there are no more coefficients than bands")
        return self

    @property
    def fft_size(self) -> int:
        return 1 << (self.frame - 1).bit_length()

    def shape(self, length: int) -> tuple[int, int]:
        """(frames, width) of so many values."""
        return 1 + (length - self.frame) // self.step, self.coefficients or self.bands


class SoundInput(Section):
    """How sound becomes the input [length], [1, length] or [1, length, 1]: value * full_scale, oldest first."""

    rate_hz: int = Field(ge=4_000, le=192_000, description="values a second")
    length: int = Field(ge=1, le=1_920_000, description="values in one window")
    hop: int = Field(ge=1, le=19_200_000, description="infer on every hop-th value; a lane's hop_ms overrides this")
    full_scale: float = Field(
        1.0, gt=0, description="the input for the loudest value; 32768 where it was trained on 16 bit values"
    )
    features: SoundFeatures | None = Field(None, description="the model reads spectra in place of the values")

    @model_validator(mode="after")
    def _features_fit(self) -> SoundInput:
        if self.features and self.features.frame > self.length:
            raise ValueError("a frame of the features is longer than the window")
        if self.features and self.features.high_hz > self.rate_hz / 2:
            raise ValueError(f"features.high_hz is above half of rate_hz: {self.rate_hz / 2:g}")
        return self

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Those that the input may have."""
        if not self.features:
            return [(self.length,), (1, self.length), (1, self.length, 1)]
        frames, width = self.features.shape(self.length)
        return [(1, frames, width), (1, frames, width, 1), (1, frames * width)]


class Backbone(Section):
    """The input of a head: an output of a backbone, as that stores it. A head fits only the weights it learnt with."""

    model: str = Field(description="its package, bundled or in a folder beside this one's")
    sha256: Sha256 = Field(description="of its model file; of an ONNX model with weights beside it: their common one")
    output: str = Field("", description="name or number of the output; default: the first")


class Manifest(Section):
    """The file manifest.yaml of a package.

    Exactly one of picture, window, poses, sound, backbone and evidence is its input.
    """

    version: str
    licence: str
    file: PackageFile
    sha256: Sha256
    files: dict[PackageFile, Sha256] = Field(
        {}, max_length=64, description="sha256 of every other file that is read: golden outputs, weights"
    )
    backend: str = Field(AUTO, description="engine; auto: the fastest installed one for .tflite or .onnx, timed once")
    provider: str = ""
    shape: list[int] = Field([], max_length=8, description="of the input, where the model file leaves sizes open")
    outputs: list[str] = Field(
        [], max_length=64, description="names of the model's outputs in the decoder's order, where the file has another"
    )
    decoder: str
    labels: list[str] = []
    options: dict[str, Any] = Field({}, description="of the decoder")
    picture: Picture | None = None
    window: Window | None = None
    poses: Poses | None = Field(None, description="of a second model, which reads the keypoints of a lane's first")
    sound: SoundInput | None = None
    evidence: bool = Field(False, description="it passes on what other boxes have found")
    backbone: Backbone | None = Field(None, description="of a head, which a lane names under `heads`")
    budget_ms: float = Field(10.0, gt=0, description="longest acceptable inference")
    data: str = Field("", description="what it was trained on, and the licence of that")
    golden: PackageFile = ""
    tolerance: list[float] = Field(
        [], max_length=1024, description="from golden outputs that are not quantised: for each value of the last axis"
    )

    @property
    def checksum(self) -> str:
        """Of all that outputs depend on: the model file and the weights beside it."""
        weights = {name: sha256 for name, sha256 in self.files.items() if name != self.golden}
        lines = [self.sha256, *(f"{sha256} {name}" for name, sha256 in sorted(weights.items()))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest() if weights else self.sha256

    @field_validator("labels")
    @classmethod
    def _clean(cls, labels: list[str]) -> list[str]:
        """Of a label file from Windows: a rule on "person" would never hold where its model says "person" and CR."""
        return [label.strip("\ufeff \t\r\n") for label in labels]

    @model_validator(mode="after")
    def _provider_of_backend(self) -> Manifest:
        if self.provider and self.backend == AUTO:
            raise ValueError(f"provider '{self.provider}' is one of a backend: set 'backend', too")
        return self

    @model_validator(mode="after")
    def _one_input(self) -> Manifest:
        inputs = [self.picture, self.window, self.poses, self.sound, self.backbone, self.evidence or None]
        if inputs.count(None) != len(inputs) - 1:
            raise ValueError(
                "a manifest has exactly one section that describes the input: picture, window, poses, sound or backbone"
            )
        return self
