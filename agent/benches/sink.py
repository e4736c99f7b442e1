"""The other end of the bare script: receives, stamps, and writes capture-to-received nanoseconds as one int64 a line.

python -m agent.benches.sink ENDPOINT SAMPLES
"""

import sys
import time

import numpy as np
import zmq


def main(endpoint: str, samples: int) -> None:
    socket = zmq.Context().socket(zmq.PULL)
    socket.bind(endpoint)
    print("ready", flush=True)
    delays = []
    for _ in range(samples):
        message = socket.recv()
        delays.append(time.monotonic_ns() - int(np.frombuffer(message, np.int64)[0]))
    sys.stdout.write("\n".join(map(str, delays)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
