"""What is used of GStreamer 1.x, through its C interface, which is stable since 1.0.

Its Python binding (python3-gi) belongs to the system's Python and cannot be imported in a virtual environment of
another version. OpenCV's wheel has no GStreamer.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array

NONE = 2**64 - 1  # GST_CLOCK_TIME_NONE
FORMAT_TIME = 3
PLAYING, STOPPED = 4, 1  # GstState; STOPPED is GST_STATE_NULL
FAILURE = 0
EOS, ERROR = 1, 2  # GstMessageType
CORRUPTED = 1 << 8  # GST_BUFFER_FLAG_CORRUPTED
# GST_ELEMENT_FACTORY_TYPE_DECODER | GST_ELEMENT_FACTORY_TYPE_MEDIA_VIDEO: jpegdec is of MEDIA_IMAGE
VIDEO_DECODER = 1 << 0 | 1 << 49

INSTALL = (
    "GStreamer 1.x is missing: apt-get install libgstreamer-plugins-base1.0-0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good"
)

PROTOTYPES: dict[str, tuple[Any, ...]] = {  # name: what it returns, its arguments
    "gst_init_check": (c_int, c_void_p, c_void_p, c_void_p),
    "gst_parse_launch": (c_void_p, c_char_p, c_void_p),
    "gst_bin_get_by_name": (c_void_p, c_void_p, c_char_p),
    "gst_bin_iterate_recurse": (c_void_p, c_void_p),
    "gst_iterator_next": (c_int, c_void_p, c_void_p),
    "gst_iterator_free": (None, c_void_p),
    "g_value_get_object": (c_void_p, c_void_p),
    "g_value_reset": (c_void_p, c_void_p),
    "gst_element_get_factory": (c_void_p, c_void_p),
    "gst_element_factory_list_is_type": (c_int, c_void_p, c_uint64),
    "gst_system_clock_obtain": (c_void_p,),
    "gst_pipeline_use_clock": (None, c_void_p, c_void_p),
    "gst_element_set_state": (c_int, c_void_p, c_int),
    "gst_element_get_base_time": (c_uint64, c_void_p),
    "gst_element_get_bus": (c_void_p, c_void_p),
    "gst_element_get_static_pad": (c_void_p, c_void_p, c_char_p),
    "gst_pad_peer_query": (c_int, c_void_p, c_void_p),
    "gst_query_new_latency": (c_void_p,),
    "gst_query_parse_latency": (None, c_void_p, c_void_p, c_void_p, c_void_p),
    "gst_bus_timed_pop_filtered": (c_void_p, c_void_p, c_uint64, c_uint),
    "gst_message_parse_error": (None, c_void_p, c_void_p, c_void_p),
    "gst_object_get_name": (c_void_p, c_void_p),
    "gst_app_sink_is_eos": (c_int, c_void_p),
    "gst_app_sink_try_pull_sample": (c_void_p, c_void_p, c_uint64),
    "gst_sample_get_buffer": (c_void_p, c_void_p),
    "gst_sample_get_caps": (c_void_p, c_void_p),
    "gst_sample_get_segment": (c_void_p, c_void_p),
    "gst_caps_get_structure": (c_void_p, c_void_p, c_uint),
    "gst_structure_get_int": (c_int, c_void_p, c_char_p, c_void_p),
    "gst_structure_get_fraction": (c_int, c_void_p, c_char_p, c_void_p, c_void_p),
    "gst_segment_to_running_time": (c_uint64, c_void_p, c_int, c_uint64),
    "gst_buffer_get_size": (c_size_t, c_void_p),
    "gst_buffer_extract": (c_size_t, c_void_p, c_size_t, c_void_p, c_size_t),
    "gst_mini_object_unref": (None, c_void_p),
    "g_quark_to_string": (c_char_p, c_uint),
}


class _GError(ctypes.Structure):
    _fields_ = [("domain", c_uint), ("code", c_int), ("message", c_char_p)]


class _MiniObject(ctypes.Structure):
    """GstMiniObject, as in gstminiobject.h."""

    _fields_ = [
        ("type", c_size_t),
        ("refcount", c_int),
        ("lockstate", c_int),
        ("flags", c_uint),
        ("functions", c_void_p * 3),
        ("priv_uint", c_uint),
        ("priv_pointer", c_void_p),
    ]


class _Buffer(ctypes.Structure):
    _fields_ = [("mini_object", _MiniObject), ("pool", c_void_p), ("pts", c_uint64)]


class _Message(ctypes.Structure):
    _fields_ = [("mini_object", _MiniObject), ("type", c_uint), ("timestamp", c_uint64), ("source", c_void_p)]


class Failure(Exception):
    """GStreamer's own text; `resource`: of a device or a peer, not of data or of the pipeline."""

    def __init__(self, text: str, resource: bool = False) -> None:
        super().__init__(text)
        self.resource = resource


class Picture(NamedTuple):
    """A sample of the sink; `free` it. t_running: ns since the start of the pipeline, -1 where unknown."""

    sample: int
    buffer: int
    width: int
    height: int
    rate_hz: float
    t_running: int
    damaged: bool


class Pipeline:
    """A pipeline that ends in an appsink of the name `sink`, on CLOCK_MONOTONIC. Raises Failure."""

    def __init__(self, text: str, sink: str) -> None:
        self.gst = _library()
        self.gst.gst_init_check(None, None, None)
        error = ctypes.POINTER(_GError)()
        # not NULL with an error where only a part of it is wrong
        self.pipeline = self.gst.gst_parse_launch(text.encode(), ctypes.byref(error))
        if error or not self.pipeline:
            raise Failure(_decoded(error.contents.message) if error else "is empty")
        self.sink = self.gst.gst_bin_get_by_name(self.pipeline, sink.encode())
        if not self.sink:
            raise Failure("is not complete: is a quotation mark missing?")
        self.bus = self.gst.gst_element_get_bus(self.pipeline)
        self.gst.gst_pipeline_use_clock(self.pipeline, self.gst.gst_system_clock_obtain())

    def start(self) -> None:
        if self.gst.gst_element_set_state(self.pipeline, PLAYING) == FAILURE:
            self.check()
            raise Failure("does not start", resource=True)

    def stop(self) -> None:
        self.gst.gst_element_set_state(self.pipeline, STOPPED)

    def pull(self, wait_ns: int) -> Picture | None:
        """The next picture; None where there is none yet, or no more."""
        sample = self.gst.gst_app_sink_try_pull_sample(self.sink, wait_ns)
        if not sample:
            return None
        buffer, segment = self.gst.gst_sample_get_buffer(sample), self.gst.gst_sample_get_segment(sample)
        header = _Buffer.from_address(buffer)
        running = self.gst.gst_segment_to_running_time(segment, FORMAT_TIME, header.pts) if header.pts != NONE else NONE
        return Picture(
            sample,
            buffer,
            *self._size(self.gst.gst_caps_get_structure(self.gst.gst_sample_get_caps(sample), 0)),
            t_running=-1 if running == NONE else running,
            damaged=bool(header.mini_object.flags & CORRUPTED),
        )

    def free(self, picture: Picture) -> None:
        self.gst.gst_mini_object_unref(picture.sample)

    def copy(self, picture: Picture, target: Array) -> bool:
        """target: uint8 [height, width, channels]. False where the buffer is smaller than that."""
        height, row = target.shape[0], target.shape[1] * target.shape[2]
        # lines begin at multiples of four bytes: the layout of video frames without GstVideoMeta
        stride = -(-row // 4) * 4
        if self.gst.gst_buffer_get_size(picture.buffer) < (height - 1) * stride + row:
            return False
        if stride == row:
            self.gst.gst_buffer_extract(picture.buffer, 0, target.ctypes.data, height * row)
            return True
        padded = np.zeros((height, stride), np.uint8)
        self.gst.gst_buffer_extract(picture.buffer, 0, padded.ctypes.data, padded.nbytes)
        np.copyto(target, padded[:, :row].reshape(target.shape))
        return True

    def check(self) -> bool:
        """False once no picture will follow. Raises Failure where an element has failed."""
        failures = []
        while message := self.gst.gst_bus_timed_pop_filtered(self.bus, 0, EOS | ERROR):
            if _Message.from_address(message).type == EOS:
                return False
            failures.append(self._failure(message))
        if failures:
            # an element that could not get at its device may report a stream without data before it says why
            raise max(failures, key=lambda failure: failure.resource)
        return not self.gst.gst_app_sink_is_eos(self.sink)

    def _failure(self, message: int) -> Failure:
        error, debug = ctypes.POINTER(_GError)(), c_char_p()
        self.gst.gst_message_parse_error(message, ctypes.byref(error), ctypes.byref(debug))
        name = c_char_p(self.gst.gst_object_get_name(_Message.from_address(message).source)).value
        domain = _decoded(self.gst.g_quark_to_string(error.contents.domain))
        # of the debugging text only this: the rest are names of source files, or an address with its password
        reason = re.search(r"reason ([\w-]+)", _decoded(debug.value))
        text = f"{_decoded(name)}: {_decoded(error.contents.message)}{f' ({reason[1]})' if reason else ''}"
        return Failure(text, resource="resource" in domain)

    def is_live(self) -> bool:
        """Its source produces pictures in real time, so that their time stamps are times of this clock."""
        query, live, least, most = self.gst.gst_query_new_latency(), c_int(), c_uint64(), c_uint64()
        # of what is before the sink: a sink that does not wait for a clock says that it is not live
        answered = self.gst.gst_pad_peer_query(self.gst.gst_element_get_static_pad(self.sink, b"sink"), query)
        self.gst.gst_query_parse_latency(query, ctypes.byref(live), ctypes.byref(least), ctypes.byref(most))
        self.gst.gst_mini_object_unref(query)
        return bool(answered and live.value)

    def base_time(self) -> int:
        """CLOCK_MONOTONIC, ns, at running time 0."""
        return int(self.gst.gst_element_get_base_time(self.pipeline))

    def decodes_video(self) -> bool:
        """Has a decoder whose pictures may repeat the one before for good reasons."""
        elements, value, decodes = self.gst.gst_bin_iterate_recurse(self.pipeline), (c_uint64 * 3)(), False
        while self.gst.gst_iterator_next(elements, value) == 1:  # GST_ITERATOR_OK
            factory = self.gst.gst_element_get_factory(self.gst.g_value_get_object(value))
            decodes |= bool(factory and self.gst.gst_element_factory_list_is_type(factory, VIDEO_DECODER))
            self.gst.g_value_reset(value)
        self.gst.gst_iterator_free(elements)
        return decodes

    def _size(self, caps: int) -> tuple[int, int, float]:
        width, height, share, whole = c_int(), c_int(), c_int(), c_int(1)
        self.gst.gst_structure_get_int(caps, b"width", ctypes.byref(width))
        self.gst.gst_structure_get_int(caps, b"height", ctypes.byref(height))
        self.gst.gst_structure_get_fraction(caps, b"framerate", ctypes.byref(share), ctypes.byref(whole))
        return width.value, height.value, share.value / max(1, whole.value)


def _library() -> ctypes.CDLL:
    """It brings GStreamer's core and GLib, whose functions are found through it. Raises Failure."""
    try:
        library = ctypes.CDLL("libgstapp-1.0.so.0")
    except OSError as error:
        raise Failure(INSTALL) from error
    for name, (result, *arguments) in PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _decoded(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "replace")
