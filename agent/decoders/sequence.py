"""One score per label, of a window of sensor readings or keypoints: [1, labels]."""

from agent.decoders.classify import Decoder, Options

__all__ = ["Decoder", "Options"]
