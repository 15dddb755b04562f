"""Measure a run: time, memory, and where it took place."""

import datetime
import os
import platform
import subprocess
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "numpy", "scikit-learn")


class Meter:
    """Measure the time of a block and the memory of the processes started in it.

    After the block: ``seconds`` (float) and ``peak_memory_mb`` (int, the resident
    memory of all child processes together in MiB, the largest of ten samples a second).
    """

    def __enter__(self):
        self._peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._start = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.seconds = time.perf_counter() - self._start
        self._done.set()
        self._thread.join()
        self.peak_memory_mb = round(self._peak / 2**20)

    def figures(self):
        """Return seconds and peak memory as a dict."""
        return {
            "seconds": round(self.seconds, 1),
            "peak_memory_mb": self.peak_memory_mb,
        }

    def _sample(self):
        me = psutil.Process()
        while not self._done.wait(0.1):
            self._peak = max(self._peak, sum(map(_memory, me.children(recursive=True))))


def _memory(process):
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def provenance():
    """Return the cores, the date and the versions that a figure belongs to."""
    return {
        "cores": cores(),
        "date": datetime.date.today().isoformat(),
        "versions": versions(),
    }


def cores():
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def versions():
    """Return the versions of Python and of the packages that decide about speed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine():
    """Return the model of the processor (never the name of the host)."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text("utf8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()
