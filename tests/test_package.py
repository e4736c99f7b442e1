"""Model packages: a good one opens; a bad one is refused with one message that names the file and the reason."""

import importlib
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ruamel.yaml import YAML

from agent.backends import base as backends
from agent.backends.base import EngineError
from agent.decoders import base as decoders
from agent.decoders import climb, heart, heart_strap
from agent.decoders.base import DecoderError
from agent.errors import PackageError
from agent.packages import golden, package
from agent.packages.checksums import digest
from agent.packages.package import BUNDLED
from tests.shared import PUBLIC, needs_recordings

ARM = BUNDLED / "arm-deviation"
BAD = (
    "audio_preprocessor_int8.tflite",
    "person_detect.tflite",
    "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite",
)

OPENED = package.open_package(ARM)


class Copy:
    """A copy of a package that a test may damage."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ARM, folder)
        self.golden = dict(np.load(ARM / "golden.npz"))

    def manifest(self, **changes):
        path = self.folder / "manifest.yaml"
        fields = YAML(typ="safe").load(path.read_text()) | changes
        YAML(typ="safe").dump({key: value for key, value in fields.items() if value is not None}, path)

    def model(self, file, **changes):
        shutil.copy(file, self.folder / file.name)
        changes = {"picture": {}, "window": None, "golden": None, "files": None} | changes
        self.manifest(file=file.name, sha256=digest(file), **changes)

    def save_golden(self, **changes):
        np.savez(
            self.folder / "golden.npz",
            **{name: array for name, array in (self.golden | changes).items() if array is not None},
        )
        self.list_golden()

    def list_golden(self):
        """The manifest gets the sha256 of the golden file."""
        self.manifest(files={"golden.npz": digest(self.folder / "golden.npz")})

    def refusal(self):
        with pytest.raises(PackageError) as caught:
            package.open_package(self.folder)
        assert str(self.folder) in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path / "arm")


def test_the_bundled_package_opens_and_matches_its_golden_outputs():
    arm = package.open_package(package.find("arm-deviation"))
    assert arm.name == "arm-deviation"
    assert package.compare_golden(arm) <= 1.0
    assert set(package.labels(ARM)) >= {"deviation", "collision", "overspeed"}


def test_a_folder_beside_the_configuration_comes_first(copy):
    assert package.find("arm", copy.folder.parent) == copy.folder
    assert package.find(copy.folder, BUNDLED) == copy.folder
    copy.folder.rename(copy.folder.parent / "arm-deviation")
    assert package.find("arm-deviation", copy.folder.parent).parent == copy.folder.parent
    assert package.find("arm-deviation", BUNDLED.parent) == ARM


@pytest.mark.parametrize("name", ["nothing", "m" * 5000, "a\0b", "..", "/"])
def test_no_such_package(name, tmp_path):
    with pytest.raises(PackageError, match="neither a folder with a manifest.yaml nor bundled .*arm-deviation"):
        package.find(name, tmp_path)


def test_labels_of_a_decoder_that_has_its_own(copy):
    copy.manifest(decoder="movenet", labels=[])
    assert sorted(package.labels(copy.folder)) == ["lying", "person"]


@pytest.mark.parametrize("file", ["none.tflite", ".", "m" * 300])
def test_a_model_file_that_does_not_exist(copy, file):
    copy.manifest(file=file)
    assert "does not exist: copy it there or correct 'file'" in copy.refusal()


def test_a_model_file_with_another_sha256(copy):
    with open(copy.folder / "arm-deviation.tflite", "r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    assert "sha256 is" in copy.refusal()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_model_file_without_rights(copy):
    os.chmod(copy.folder / "arm-deviation.tflite", 0)
    assert "Permission denied" in copy.refusal()


OURS = """\
from agent.backends import litert
from agent.decoders import classify
class Decoder(classify.Decoder):
    pass
class Engine(litert.Engine):
    pass
"""


def test_a_decoder_and_an_engine_of_ones_own(copy, tmp_path, monkeypatch):
    """By the dotted path of a module that is in PYTHONPATH, as with drivers."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "our").mkdir()
    (tmp_path / "our/broken.py").write_text("import nothing_like_this")
    (tmp_path / "our/odd.py").write_text("Decoder = Engine = 5")
    (tmp_path / "our/part.py").write_text(OURS)
    copy.manifest(decoder="our.part", backend="our.part")
    opened = package.open_package(copy.folder)
    assert type(opened.engine).__module__ == type(opened.decoder).__module__ == "our.part"
    copy.manifest(decoder="our.nothing")
    assert "no decoder 'our.nothing'; there is blobs" in copy.refusal()
    copy.manifest(decoder="our.odd")
    assert "no decoder 'our.odd'" in copy.refusal()
    copy.manifest(decoder="our.broken")
    assert "decoder 'our.broken' needs the Python package 'nothing_like_this'" in copy.refusal()
    copy.manifest(decoder="classify", backend="our.broken")
    assert "backend 'our.broken' needs the Python package 'nothing_like_this'" in copy.refusal()
    copy.manifest(backend="our.odd")
    assert "no backend 'our.odd'" in copy.refusal()


@pytest.mark.parametrize("backend, message", [("litert", "LiteRT refuses"), ("onnx", "ONNX Runtime refuses")])
@pytest.mark.parametrize("raw", [b"", b"not a model", bytes(5000), b"\x1c\0\0\0TFL3" + bytes(range(256)) * 8])
def test_bytes_that_are_no_model(copy, raw, backend, message):
    copy.folder.with_name("junk").write_bytes(raw)
    copy.model(copy.folder.with_name("junk"), backend=backend)
    assert message in copy.refusal()


@needs_recordings
@pytest.mark.parametrize("name", BAD)
def test_a_public_model_that_the_engine_cannot_run(copy, name):
    copy.model(PUBLIC / "bad" / name)
    assert f"LiteRT refuses {name}: " in copy.refusal()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"decoder": "nothing"}, "no decoder 'nothing'"),
        ({"decoder": "base"}, "no decoder 'base'"),
        ({"decoder": "__init__"}, "no decoder '__init__'"),
        ({"decoder": ""}, "no decoder ''"),
        ({"decoder": "../x"}, "no decoder '../x'"),
        ({"decoder": "movenet"}, "movenet needs an output [1, 1, 17, 3], the model gives (1, 4)"),
        ({"decoder": "ssd"}, "ssd needs boxes, classes, scores and count"),
        ({"labels": ["a", "b"]}, "the model gives 4 scores and the manifest names 2 labels"),
        ({"options": {"min_scor": 0.5}}, "options.min_scor"),
        ({"options": {"min_score": "x"}}, "options.min_score"),
        ({"backend": "nothing"}, "no backend 'nothing'"),
        ({"backend": "base"}, "no backend 'base'"),
        ({"provider": "cuda"}, "is one of a backend"),
        ({"provider": "cuda", "backend": "litert"}, "runs on the CPU, not on 'cuda'"),
        ({"window": None}, "picture, window, poses, sound or backbone"),
        ({"picture": {}}, "picture, window, poses, sound or backbone"),
        (
            {"window": None, "picture": {}},
            "a picture needs an input [1, height, width, 1 or 3], the model takes (1, 32, 12)",
        ),
        (
            {"window": {"channels": ["x"], "length": 32, "mean": [0.0], "std": [1.0]}},
            "window makes an input (1, 32, 1), the model takes (1, 32, 12)",
        ),
        ({"window": {"channels": ["x"], "length": 32, "mean": [], "std": [1.0]}}, "must have the same length"),
        ({"window": {"channels": ["x"], "length": 32, "mean": [0.0], "std": [0.0]}}, "std must be above 0"),
        (
            {"window": {"channels": ["x"], "length": 32, "mean": [0.0], "std": [float("nan")]}},
            "expected a finite number",
        ),
        ({"sha256": "12"}, "'sha256'"),
        ({"version": None}, "'version' is missing"),
        ({"licens": "x"}, "unknown key 'licens'; did you mean 'licence'?"),
        ({"window": None, "picture": {"mean": [1.0, 2.0]}}, "mean is one number, or one per colour"),
        ({"window": None, "picture": {"std": 0}}, "std must not be 0"),
        ({"window": None, "picture": {"mean": "x"}}, "'picture.mean': expected a number"),
    ],
)
def test_a_manifest_that_does_not_fit(copy, changes, message):
    copy.manifest(**changes)
    assert message in copy.refusal()


def test_a_folder_without_a_readable_manifest(copy):
    (copy.folder / "manifest.yaml").write_bytes(b"\xff")
    assert "not UTF-8" in copy.refusal()
    (copy.folder / "manifest.yaml").unlink()
    assert "No such file" in copy.refusal()


@needs_recordings
def test_a_grey_picture_for_a_model_of_three_colours(copy):
    model = PUBLIC / "vww_96_int8.tflite"
    fields = {"decoder": "classify", "labels": ["nobody", "person"]}
    copy.model(model, picture={"colour": "grey"}, **fields)
    assert "picture.colour is grey, the model takes (1, 96, 96, 3)" in copy.refusal()
    copy.model(model, picture={"colour": "rgb"}, **fields)
    assert package.open_package(copy.folder).engine.inputs[0].shape == (1, 96, 96, 3)


def test_golden_outputs_within_the_tolerance(copy):
    off = np.clip(copy.golden["output_0"].astype(int) + golden.STEPS, -128, 127)
    copy.save_golden(output_0=off)
    assert package.compare_golden(package.open_package(copy.folder)) == 1.0


def test_golden_outputs_of_another_model(copy):
    copy.save_golden(output_0=copy.golden["output_0"][::-1])
    assert "times the tolerance: this machine computes another model" in copy.refusal()


def test_golden_outputs_of_nan(copy):
    copy.save_golden(output_0=np.full(copy.golden["output_0"].shape, np.nan))
    assert "times the tolerance" in copy.refusal()


def test_a_package_may_come_without_golden_outputs(copy):
    copy.manifest(golden=None, files=None)
    assert package.compare_golden(package.open_package(copy.folder)) is None


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"input_0": None}, "no golden outputs"),
        ({"output_0": None}, "no golden outputs"),
        ({"input_0": np.zeros((0, 32, 12), np.int8)}, "no golden outputs"),
        ({"output_0": np.zeros((1, 4), np.int8)}, "does not fit the model"),
        ({"input_0": np.zeros((8, 3, 12), np.int8)}, "does not fit the model"),
        ({"input_0": np.array(["x"])}, "does not fit the model"),
        ({"input_0": np.array([{}], object)}, "allow_pickle=False"),
    ],
)
def test_golden_arrays_that_do_not_fit(copy, changes, message):
    copy.save_golden(**changes)
    assert message in copy.refusal()


def test_a_golden_file_with_code_in_it_is_not_run(copy):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(copy.folder / "trap"),)

    copy.save_golden(output_0=np.array([Trap()], object))
    assert "allow_pickle=False" in copy.refusal()
    assert not (copy.folder / "trap").exists()


def test_a_golden_file_that_is_missing(copy):
    copy.manifest(golden="none.npz", files={"none.npz": "0" * 64})
    assert "does not exist: copy it there or correct 'files'" in copy.refusal()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_golden_file_is_refused_or_compared(tmp_path_factory, data):
    raw = bytearray((ARM / "golden.npz").read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("golden")
    (folder / "golden.npz").write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    damaged = package.Package(folder, OPENED.manifest, OPENED.engine, OPENED.decoder)
    try:
        assert package.compare_golden(damaged) >= 0
    except PackageError as error:
        assert str(folder) in str(error)


def test_a_golden_file_of_another_format(copy):
    with open(copy.folder / "golden.npz", "wb") as file:
        np.save(file, copy.golden["input_0"])
    copy.list_golden()
    assert "cannot be read" in copy.refusal()


def test_an_unknown_engine_is_refused():
    with pytest.raises(EngineError, match="no backend 'nothing'"):
        backends.load("nothing", ARM)


def test_real_values_of_a_quantised_output():
    engine = OPENED.engine
    engine.invoke()
    tensor = engine.outputs[0]
    assert tensor.scale > 0
    assert np.allclose(engine.real(0), (engine.output(0).astype(float) - tensor.zero_point) * tensor.scale)
    assert engine.real(0).dtype == np.float32


OUTPUTS = {
    "classify": [(1, 3)],
    "sequence": [(1, 3)],
    "movenet": [(1, 1, 17, 3)],
    "ssd": [(1, 10, 4), (1, 10), (1, 10), (1,)],
    "grid": [(1, 4, 5, 3)],
    "blobs": [(1, 12, 17, 1)],
    "nanodet": [(1, 16, 3), (1, 4, 3), (1, 16, 32), (1, 4, 32)],
    "heart": [(1, 2000, 1)],
    "heart_strap": [(1, 10, 3)],
    "climb": [(1, 30, 51)],
    "yolo": [(1, 7, 21)],
    "reconstruction": [(1,)],
    "evidence": [(1, 1024)],
    "features": [(1, 3, 3, 8)],
}
OPTIONS = {
    "yolo": {"layout": "v8"},
    "reconstruction": {"threshold": 1.0},
    "blobs": {"kinds": {"a": {"area": [0, 0.1]}, "b": {"area": [0.1, 0.5]}, "c": {"area": [0.5, 1]}}},
}
LABELS = ("a", "b", "c", "person", "lying", "anomaly", *heart.LABELS, *heart_strap.LABELS, *climb.LABELS)
floats = st.floats(width=32) | st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0, 1e38])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", OUTPUTS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_decoder_accepts_any_numbers(name, data):
    shapes = OUTPUTS[name]
    decoder = decoders.make(name, ["a", "b", "c"], OPTIONS.get(name, {}), shapes)
    try:
        findings = decoder([data.draw(arrays.arrays(np.float32, shape, elements=floats)) for shape in shapes])
    except DecoderError:
        return  # a score that is no probability, a class that is no number
    for finding in findings:
        assert finding.label in LABELS
        assert 0 <= finding.score <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_decoder_accepts_outputs_that_are_not_finite(name, value):
    shapes = OUTPUTS[name]
    decoder = decoders.make(name, ["a", "b", "c"], OPTIONS.get(name, {}), shapes)
    try:
        findings = decoder([np.full(shape, value, np.float32) for shape in shapes])
        assert value == np.inf or findings == []
    except DecoderError:
        assert value == np.inf


def test_every_decoder_is_tested_here():
    names = {path.stem for path in (BUNDLED.parent / "agent" / "decoders").glob("*.py")} - {"__init__", "base"}
    modules = {name: importlib.import_module(f"agent.decoders.{name}") for name in names}
    assert {name for name, module in modules.items() if hasattr(module, "Decoder")} == set(OUTPUTS)


def test_classify_reports_the_highest_score_first():
    decoder = decoders.make("classify", ["a", "b", "c"], {"min_score": 0.2, "top": 2}, [(1, 3)])
    assert [(f.label, round(f.score, 2)) for f in decoder([np.array([[0.3, 0.1, 0.6]], np.float32)])] == [
        ("c", 0.6),
        ("a", 0.3),
    ]
    assert len(decoder([np.array([[0.3, 0.3, 0.3]], np.float32)])) == 2


def test_ssd_reports_boxes_and_skips_detections_without_a_label():
    decoder = decoders.make("ssd", ["cat", "dog"], {}, OUTPUTS["ssd"])
    outputs = [np.zeros(shape, np.float32) for shape in OUTPUTS["ssd"]]
    outputs[0][0, :3] = [0.1, 0.2, 0.3, 0.4]
    outputs[1][0, :3] = [1, 7, 0]
    outputs[2][0, :3] = [0.9, 0.8, 0.1]
    (finding,) = decoder(outputs)
    assert (finding.label, round(finding.score, 3)) == ("dog", 0.9)
    assert np.allclose(finding.box, (0.2, 0.1, 0.4, 0.3))


@pytest.mark.parametrize("count", [-1, -0.5, 0.5, 10.5, np.nan, np.inf, -np.inf])
def test_kind_ssd_reports_nothing_where_the_count_is_none(count):
    decoder = decoders.make("ssd", ["cat", "dog"], {}, OUTPUTS["ssd"])
    outputs = [np.zeros(shape, np.float32) for shape in OUTPUTS["ssd"]]
    outputs[2][0, :3] = 0.9
    outputs[3][0] = 3
    assert len(decoder(outputs)) == 3
    outputs[3][0] = count
    if np.isfinite(count):
        with pytest.raises(DecoderError, match="is no number of detections"):
            decoder(outputs)
    else:
        assert decoder(outputs) == []


def person(shoulders, hips, score=0.9):
    points = np.zeros((1, 1, 17, 3), np.float32)
    points[0, 0, :, :] = (*hips, score)
    points[0, 0, [5, 6]] = (*shoulders, score)
    return [points]


@pytest.mark.parametrize(
    "shoulders, hips, flat",
    [
        ((0.2, 0.5), (0.6, 0.5), 0.0),
        ((0.5, 0.2), (0.5, 0.6), 1.0),
        ((0.3, 0.3), (0.5, 0.5), 0.5),
        ((0.6, 0.5), (0.2, 0.5), 1.0),
    ],
)
def test_movenet_scores_how_flat_a_person_lies(shoulders, hips, flat):
    decoder = decoders.make("movenet", [], {}, OUTPUTS["movenet"])
    scores = {finding.label: finding.score for finding in decoder(person(shoulders, hips))}
    assert scores["person"] == pytest.approx(0.9)
    assert scores.get("lying", 0.0) == pytest.approx(flat, abs=1e-3)


def test_movenet_finds_no_person_in_faint_keypoints():
    decoder = decoders.make("movenet", [], {}, OUTPUTS["movenet"])
    assert decoder(person((0.2, 0.5), (0.6, 0.5), score=0.1)) == []
