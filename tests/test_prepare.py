"""Input tensors: every pixel layout and number type against the formula, every window against its history."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backends.base import Tensor
from agent.data import Box
from agent.packages.manifest import Picture, Window
from agent.prepare.pixels import CHANNELS, Pixels
from agent.prepare.quantise import lookup_table
from agent.prepare.readings import Readings
from drivers.base import DeviceFault

# Colours far apart, as red, green, blue.
RED, GREEN, BLUE, GREY, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90), (255, 255, 255)
COLOURS = (RED, GREEN, BLUE, GREY)


def luma(colour):
    """Rec. 601, the weights behind OpenCV's grey and YUYV's Y."""
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def tensor(shape, dtype=np.uint8, scale=0.0, zero_point=0):
    return Tensor("input", shape, dtype, scale, zero_point)


def quarters(height=80, width=96):
    """RGB: red, green / blue, grey."""
    picture = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(COLOURS):
        down, right = divmod(number, 2)
        picture[down * height // 2 : (down + 1) * height // 2, right * width // 2 : (right + 1) * width // 2] = colour
    return picture


def to_yuyv(rgb):
    """Studio range, Rec. 601: Y0 U Y1 V for two pixels (Linux' V4L2_PIX_FMT_YUYV)."""
    r, g, b = np.moveaxis(rgb.astype(float), 2, 0)
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    shared = np.empty_like(y)
    shared[:, 0::2], shared[:, 1::2] = u[:, 0::2], v[:, 0::2]
    return np.rint(np.stack([y, shared], axis=2)).astype(np.uint8)


def as_camera(rgb, layout):
    if layout == "grey":
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if layout == "yuyv":
        return to_yuyv(rgb)
    return np.ascontiguousarray(rgb[:, :, ::-1]) if layout == "bgr" else rgb


def run(picture, where, layout, frame):
    view = np.zeros(where.shape, where.dtype)
    prepare = Pixels(picture, where, layout)
    prepare(frame, view)
    return prepare, view


def corners(view):
    """The middle of each quarter of [1, height, width, n]."""
    _, height, width, _ = view.shape
    return [
        view[0, (1 + 2 * down) * height // 4, (1 + 2 * right) * width // 4].astype(float)
        for down in (0, 1)
        for right in (0, 1)
    ]


PIXEL = np.arange(256.0)


@pytest.mark.parametrize("mean, std", [(0.0, 1.0), (127.5, 127.5), (0.0, 255.0), (123.7, 58.4)])
@pytest.mark.parametrize(
    "dtype, scale, zero_point",
    [(np.uint8, 1 / 255, 0), (np.int8, 1 / 128, 0), (np.int8, 0.02, -14), (np.float32, 0.0, 0)],
)
def test_the_table_follows_the_formula(dtype, scale, zero_point, mean, std):
    table = lookup_table(Picture(mean=mean, std=std), tensor((1, 4, 4, 3), dtype, scale, zero_point))
    real = (PIXEL - mean) / std
    if dtype == np.float32:
        assert np.allclose(table, real, rtol=1e-6)
        return
    limits = np.iinfo(dtype)
    expected = np.clip(np.round(real / scale + zero_point), limits.min, limits.max)
    if table is None:  # a pixel is stored as it is
        table = PIXEL
    assert table.dtype == dtype or dtype == np.uint8
    assert np.array_equal(table.astype(float), expected)


def test_each_colour_may_have_its_own_mean_and_std():
    mean, std = [10.0, 20.0, 30.0], [1.0, 2.0, 4.0]
    table = lookup_table(Picture(mean=mean, std=std), tensor((1, 4, 4, 3), np.float32))
    assert table.shape == (1, 256, 3)
    for colour in range(3):
        assert np.allclose(table[0, :, colour], (PIXEL - mean[colour]) / std[colour])
    quantised = lookup_table(Picture(mean=mean, std=1.0), tensor((1, 4, 4, 3), np.int8, 1.0, -128))
    assert quantised[0, 200].tolist() == [62, 52, 42]


@pytest.mark.parametrize(
    "scale, zero_point, mean, std", [(0.0, 0, 0.0, 1.0), (1 / 255, 0, 0.0, 255.0), (1 / 127.5, 127, 127.0, 127.5)]
)
def test_pixels_that_are_stored_as_they_are_need_no_table(scale, zero_point, mean, std):
    assert lookup_table(Picture(mean=mean, std=std), tensor((1, 4, 4, 3), np.uint8, scale, zero_point)) is None


def test_values_outside_the_type_are_clipped():
    table = lookup_table(Picture(), tensor((1, 4, 4, 3), np.int8, 1.0, 0))
    assert (table[127], table[128], table[255]) == (127, 127, 127)


@pytest.mark.parametrize("colour", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize("layout", sorted(CHANNELS))
def test_every_layout_becomes_every_colour(layout, colour):
    planes = 1 if colour == "grey" else 3
    _, view = run(Picture(colour=colour), tensor((1, 40, 48, planes)), layout, as_camera(quarters(), layout))
    for value, rgb in zip(corners(view), COLOURS):
        if "grey" in (layout, colour):
            # YUYV's own grey is its Y in studio range, 16..235
            grey = 16 + luma(rgb) * 219 / 255 if (layout, colour) == ("yuyv", "grey") else luma(rgb)
            expected = [grey] * planes
        else:
            expected = rgb if colour == "rgb" else rgb[::-1]
        assert np.abs(value - expected).max() <= 3


@pytest.mark.parametrize("dtype, scale, zero_point", [(np.uint8, 0.0, 0), (np.int8, 1 / 128, 0), (np.float32, 0.0, 0)])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_planes_come_first_where_the_model_needs_that(dtype, scale, zero_point, colour):
    picture = Picture(colour=colour, mean=128.0, std=128.0) if scale else Picture(colour=colour)
    planes = 1 if colour == "grey" else 3
    _, last = run(picture, tensor((1, 40, 48, planes), dtype, scale, zero_point), "rgb", quarters())
    _, first = run(picture, tensor((1, planes, 40, 48), dtype, scale, zero_point), "rgb", quarters())
    assert np.array_equal(np.moveaxis(first, 1, 3), last)
    assert len(np.unique(last)) > 2


def test_a_picture_is_quantised_by_the_table():
    picture, where = Picture(mean=[100.0, 50.0, 0.0], std=2.0), tensor((1, 8, 8, 3), np.int8, 1.0, -10)
    _, view = run(picture, where, "rgb", np.full((16, 16, 3), (120, 60, 30), np.uint8))
    assert view[0, 4, 4].tolist() == [0, -5, 5]


def test_a_grey_picture_for_a_grey_float_model():
    _, view = run(
        Picture(colour="grey", std=255.0), tensor((1, 8, 8, 1), np.float32), "grey", np.full((16, 16), 51, np.uint8)
    )
    assert np.allclose(view, 0.2)


def test_buffers_follow_a_frame_of_another_size():
    where = tensor((1, 16, 16, 3))
    prepare, view = run(Picture(), where, "rgb", np.full((32, 32, 3), 10, np.uint8))
    prepare(np.full((48, 64, 3), 20, np.uint8), view)
    assert (view == 20).all()


@pytest.mark.parametrize("layout", sorted(CHANNELS))
def test_a_frame_is_never_written_to(layout):
    frame = as_camera(quarters(), layout)
    before = frame.copy()
    run(Picture(fit="letterbox"), tensor((1, 40, 40, 3)), layout, frame)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize(
    "layout, shape",
    [
        ("bgr", (8, 8)),
        ("bgr", (8, 8, 2)),
        ("bgr", (8, 8, 4)),
        ("yuyv", (8, 8, 3)),
        ("yuyv", (8, 7, 2)),
        ("grey", (8, 8, 3)),
        ("rgb", (0, 8, 3)),
        ("rgb", (8,)),
        ("rgb", (1, 8, 8, 3)),
    ],
)
def test_a_frame_that_is_not_of_the_cameras_layout_is_a_fault(layout, shape):
    with pytest.raises(DeviceFault, match="is no"):
        run(Picture(), tensor((1, 4, 4, 3)), layout, np.zeros(shape, np.uint8))


@given(
    st.sampled_from(sorted(CHANNELS)),
    st.integers(1, 70),
    st.integers(1, 35),
    st.sampled_from(["stretch", "letterbox"]),
    st.sampled_from(["linear", "area"]),
)
def test_any_size_fits(layout, height, half_width, fit, resize):
    rgb = np.full((height, 2 * half_width, 3), 90, np.uint8)
    prepare, view = run(Picture(fit=fit, resize=resize), tensor((1, 24, 32, 3)), layout, as_camera(rgb, layout))
    x, y = prepare.corner
    assert np.abs(view[0, y + prepare.inner[1] // 2, x + prepare.inner[0] // 2].astype(int) - 90).max() <= 2


@pytest.mark.parametrize(
    "height, width, corner, inner",
    [(480, 640, (0, 24), (192, 144)), (640, 480, (24, 0), (144, 192)), (96, 96, (0, 0), (192, 192))],
)
def test_a_letterbox_keeps_the_shape_and_leaves_black_edges(height, width, corner, inner):
    prepare, view = run(
        Picture(fit="letterbox"), tensor((1, 192, 192, 3)), "rgb", np.full((height, width, 3), 200, np.uint8)
    )
    assert (prepare.corner, prepare.inner) == (corner, inner)
    lit = np.zeros((192, 192), bool)
    lit[corner[1] : corner[1] + inner[1], corner[0] : corner[0] + inner[0]] = True
    assert (view[0][lit] == 200).all()
    assert (view[0][~lit] == 0).all()


def test_the_edges_of_a_letterbox_are_black_to_the_model():
    _, view = run(
        Picture(fit="letterbox", mean=127.5, std=127.5),
        tensor((1, 32, 32, 3), np.float32),
        "rgb",
        np.full((8, 32, 3), 255, np.uint8),
    )
    assert np.allclose(view[0, 0], -1.0)
    assert np.allclose(view[0, 16], 1.0)


@given(st.integers(4, 700), st.integers(4, 700), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_box_on_the_input_is_mapped_to_the_frame(height, width, edges):
    prepare = Pixels(Picture(fit="letterbox"), tensor((1, 192, 256, 3)), "rgb")
    prepare.allocate((height, width, 3))
    (x, y), (w, h) = prepare.corner, prepare.inner
    expected = Box(*edges)
    on_input = Box(
        (x + expected.left * w) / 256,
        (y + expected.top * h) / 192,
        (x + expected.right * w) / 256,
        (y + expected.bottom * h) / 192,
    )
    assert np.allclose(prepare.unmap(on_input), expected, atol=1e-9)


def test_a_box_stays_where_the_picture_was_stretched():
    prepare, _ = run(Picture(), tensor((1, 32, 32, 3)), "rgb", quarters())
    assert prepare.unmap(Box(0.1, 0.2, 0.3, 0.4)) == Box(0.1, 0.2, 0.3, 0.4)


def test_a_bright_spot_is_inside_its_box():
    frame = np.zeros((100, 300, 3), np.uint8)
    frame[40:60, 200:240] = 255
    prepare, view = run(Picture(fit="letterbox"), tensor((1, 96, 96, 3)), "rgb", frame)
    rows, columns = np.nonzero(view[0, :, :, 0] > 127)
    box = Box(columns.min() / 96, rows.min() / 96, (columns.max() + 1) / 96, (rows.max() + 1) / 96)
    assert np.allclose(prepare.unmap(box), (200 / 300, 40 / 100, 240 / 300, 60 / 100), atol=0.05)


AB = ("a", "b")


def window(length=4, hop=1, channels=AB, mean=None, std=None):
    count = len(channels)
    return Window(channels=list(channels), length=length, hop=hop, mean=mean or [0.0] * count, std=std or [1.0] * count)


def rows(first, count):
    """Reading n is (n, -n)."""
    numbers = np.arange(first, first + count, dtype=np.float32)
    return np.stack([numbers, -numbers], axis=1)


def make(section, dtype=np.float32, scale=0.0, zero_point=0, channels=AB):
    where = tensor((1, section.length, len(section.channels)), dtype, scale, zero_point)
    return Readings(section, where, channels), np.zeros(where.shape, where.dtype)


def test_a_window_is_due_when_full_and_then_at_every_reading():
    readings, view = make(window(3))
    assert [readings(rows(n, 1), view) for n in range(5)] == [False, False, True, True, True]
    assert view[0].tolist() == rows(2, 3).tolist()


def test_a_hop_leaves_readings_between_inferences():
    readings, view = make(window(3, hop=4))
    assert [n for n in range(20) if readings(rows(n, 1), view)] == [3, 7, 11, 15, 19]


@given(st.integers(1, 9), st.integers(1, 12), st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_batches_of_any_size_give_the_same_window_at_the_same_reading(length, hop, sizes):
    batched, view = make(window(length, hop))
    single, single_view = make(window(length, hop))
    n = 0
    for size in sizes:
        due = batched(rows(n, size), view)
        due_at = [at for at in range(n, n + size) if single(rows(at, 1), single_view)]
        n += size
        assert due == bool(due_at)
        if due:
            assert view[0].tolist() == rows(n - length, length).tolist()


@pytest.mark.parametrize(
    "dtype, scale, zero_point", [(np.int8, 0.05, 3), (np.uint8, 0.1, 128), (np.int16, 0.001, 0), (np.float32, 0.0, 0)]
)
def test_readings_are_quantised_by_the_formula(dtype, scale, zero_point):
    dice = np.random.default_rng(1)
    values = dice.normal(0, 20, (50, 2)).astype(np.float32)
    mean, std = [1.5, -3.0], [2.0, 8.0]
    readings, view = make(window(50, mean=mean, std=std), dtype, scale, zero_point)
    assert readings(values, view)
    real = (values.astype(float) - mean) / std
    if dtype == np.float32:
        assert np.allclose(view[0], real, atol=1e-5)
        return
    limits = np.iinfo(dtype)
    exact = np.clip(real / scale + zero_point, limits.min, limits.max)
    assert np.abs(view[0] - exact).max() <= 0.501  # rounded to nearest, in float32


def test_readings_far_outside_are_clipped():
    readings, view = make(window(1), np.int8, 0.1, 5)
    readings(np.array([[1e30, -1e30]], np.float32), view)
    assert view[0].tolist() == [[127, -128]]


def test_channels_are_reordered_for_the_model():
    readings, view = make(window(2, channels=("b", "a"), mean=[0.0, 100.0]), channels=("a", "spare", "b"))
    assert readings(np.array([[1, 2, 3], [4, 5, 6]], np.float32), view)
    assert view[0].tolist() == [[3, -99], [6, -96]]


def test_a_channel_the_source_does_not_have_is_a_fault():
    with pytest.raises(DeviceFault, match="needs channel 'b'; the source has a, c"):
        make(window(), channels=("a", "c"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype, scale", [(np.float32, 0.0), (np.int8, 0.1)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reading_that_is_not_finite_is_a_fault_that_names_the_channel(bad, dtype, scale):
    readings, view = make(window(2), dtype, scale)
    batch = rows(0, 6)
    batch[2, 1] = bad
    with pytest.raises(DeviceFault, match="channel 'b' is not a number"):
        readings(batch, view)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_opposite_infinities_are_a_fault_of_the_first():
    readings, view = make(window(2))
    with pytest.raises(DeviceFault, match="channel 'b'"):
        readings(np.array([[0, np.inf], [0, -np.inf]], np.float32), view)


def test_a_channel_that_the_model_does_not_read_may_have_any_value():
    readings, view = make(window(1), channels=("a", "spare", "b"))
    assert readings(np.array([[1, np.nan, 2]], np.float32), view)
    with pytest.raises(DeviceFault, match="channel 'b'"):
        readings(np.array([[1, np.nan, np.nan]], np.float32), view)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_large_numbers_are_accepted():
    readings, view = make(window(4))
    assert readings(np.full((4, 2), 3e38, np.float32), view)


def test_after_a_fault_the_window_continues():
    readings, view = make(window(2))
    readings(rows(0, 1), view)
    with pytest.raises(DeviceFault):
        readings(np.full((1, 2), np.nan, np.float32), view)
    assert readings(rows(1, 1), view)
    assert view[0].tolist() == rows(0, 2).tolist()


def test_reset_drops_the_readings_before():
    readings, view = make(window(3))
    readings(rows(0, 3), view)
    readings.reset()
    assert [readings(rows(n, 1), view) for n in (10, 11, 12)] == [False, False, True]
    assert view[0].tolist() == rows(10, 3).tolist()
