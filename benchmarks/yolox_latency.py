"""YOLOX on one thread, one photograph at a time: ours against onnxruntime on the published file, in turns.

run     python -m benchmarks.yolox_latency data/published/yolox_nano.onnx [--times 100]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from deixis.core.frozen import freeze
from models.detectors.yolox import YOLOX

WARM_UP = 10


def main() -> None:
    """Print the median of each, in milliseconds, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="an ONNX export of YOLOX")
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config, tensors = YOLOX.read_published(options.file)
    model = YOLOX(config)
    model.load_state_dict(tensors)
    freeze(model.to(memory_format=torch.channels_last))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(options.file, settings, providers=["CPUExecutionProvider"])
    square = torch.randint(0, 256, (1, 3, config.input_size, config.input_size), dtype=torch.uint8)
    levels = square.flip(1).float().numpy()
    name = session.get_inputs()[0].name
    scales = ("coarse", "middle", "fine")
    ours, theirs = in_turns(
        lambda: model.detect(square, scales=scales), lambda: session.run(None, {name: levels}), times=options.times
    )
    print(f"ours {1000 * ours:.1f} ms, onnxruntime {1000 * theirs:.1f} ms: {ours / theirs:.2f} times as long")


@torch.inference_mode()
def in_turns(*calls: Callable[[], object], times: int) -> list[float]:
    """Median seconds of each call, after some that do not count."""
    seconds = np.zeros((WARM_UP + times, len(calls)))
    for row in seconds:
        for column, call in enumerate(calls):
            start = time.perf_counter()
            call()
            row[column] = time.perf_counter() - start
    return [statistics.median(column) for column in seconds[WARM_UP:].T]


if __name__ == "__main__":
    main()
