"""The bare script that reflexd is measured against: pace, resize, interpret, send. No checks, no rules, no ledger.

python -m agent.benches.bare camera|sensor MODEL ENDPOINT SAMPLES
"""

import sys
import time

import cv2
import numpy as np
import zmq
from ai_edge_litert.interpreter import Interpreter


def main(kind: str, model: str, endpoint: str, samples: int) -> None:
    cv2.setNumThreads(1)
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    shape, (scale, zero_point) = details["shape"], details["quantization"]
    input_view, output = interpreter.tensor(details["index"]), interpreter.get_output_details()[0]["index"]
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (480, 640, 3), np.uint8) for _ in range(8)]
    window = np.zeros((shape[1], shape[2]), details["dtype"])
    rows = random.normal(size=(1000, shape[2])).astype(np.float32)
    socket = zmq.Context().socket(zmq.PUSH)
    socket.connect(endpoint)
    period = 1_000_000_000 // (30 if kind == "camera" else 1000)
    t_capture = time.monotonic_ns() + period
    for number in range(samples):
        wait_ns = t_capture - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        if kind == "camera":
            small = cv2.resize(frames[number % 8], (int(shape[2]), int(shape[1])))
            picture = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
            input_view()[0] = picture if details["dtype"] == np.uint8 else picture.astype(np.int16) - 128
        else:
            window[:-1] = window[1:]
            window[-1] = np.clip(np.rint(rows[number % 1000] / (scale or 1)) + zero_point, -128, 127)
            input_view()[0] = window
        interpreter.invoke()
        score = float(interpreter.get_tensor(output).reshape(-1)[0])
        socket.send(np.array([t_capture, score > 0.5], np.int64).tobytes())
        t_capture += period


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
