"""Fails where the pipeline in the argument cannot be made: run by `gstreamer_fixtures.py` in a process of its own."""

import sys

from drivers.camera._gst import Pipeline

if __name__ == "__main__":
    Pipeline(sys.argv[1], "probe")
