"""On what a figure was measured, and how fast its cores can multiply at all."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ml.computed import running_commit
from ml.device import PRECISIONS, Compute

Clocks = tuple[float, float]  # the wall's, and the processor time of this process, both in seconds


def described(compute: Compute) -> dict[str, object]:
    """Hardware, software and commit, JSON-ready."""
    return {
        "processor": _processor(),
        "device": torch.cuda.get_device_name() if compute.device.type == "cuda" else "processor",
        "threads": torch.get_num_threads(),
        "precision": compute.precision,
        "torch": torch.__version__,
        "commit": running_commit(),
        "load": [round(value, 2) for value in os.getloadavg()],  # of 1, 5 and 15 minutes: others want the cores too
    }


def now(compute: Compute) -> Clocks:
    """The clocks, once the device has done what it was told."""
    if compute.device.type == "cuda":
        torch.cuda.synchronize(compute.device)
    return time.perf_counter(), time.process_time()


def since(then: Clocks, compute: Compute) -> Clocks:
    """Seconds by both clocks."""
    wall, processor = now(compute)
    return wall - then[0], processor - then[1]


def multiplication(compute: Compute) -> tuple[Callable[[], object], float]:
    """A product of square matrices in the device's number format, and its floating-point operations."""
    side = 8192 if compute.device.type == "cuda" else 1024
    left, right = torch.randn(2, side, side, device=compute.device).to(PRECISIONS[compute.precision])
    return lambda: left @ right, 2.0 * side**3


def _processor() -> str:
    names = [line for line in _text("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return f"{len(names)} x {names[0].partition(':')[2].strip()}" if names else platform.processor()


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""
