"""Prepare a chapter's kernel, and hand its figures to the benchmark run."""

import contextlib
import json
import os
import warnings

import numpy as np

from lepton_utils import plots


def setup(seed):
    """Silence the logs, seed everything, set the figure style.

    Loads Keras (and TensorFlow, where it is the backend) with its C++ messages
    discarded. oneDNN is on: without it, which is TensorFlow's default on processors
    that lack AVX-512, convolutions take 2 to 3 times as long.

    Args:
        seed: int >= 0, for Python, NumPy and Keras. The environment variable
            ``LEPTON_SEED`` overrides it, to try a chapter under other seeds; data
            sets have seeds of their own and never change.

    Returns:
        numpy.random.Generator, seeded alike, for the chapter's own draws.

    Raises:
        ValueError: if the seed, or ``LEPTON_SEED``, is not an integer >= 0.
    """
    seed = _chosen_seed(seed)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    warnings.filterwarnings("ignore", message="IProgress")  # tqdm misses its widgets
    with _discard_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.constant(0) + 1  # the CPU message comes with the first operation
    keras.utils.set_random_seed(seed)
    plots.use_style()
    return np.random.default_rng(seed)


def record(**figures):
    """Hand a chapter's figures to the benchmark run; without one, do nothing.

    Args:
        **figures: name = number, in the names of ``benchmarks/runs.toml``.

    Raises:
        ValueError: if a figure is not a finite number.
    """
    for name, value in figures.items():
        try:
            finite = np.isfinite(float(value))
        except (TypeError, ValueError):
            finite = False
        if not finite:
            raise ValueError(f"{name} must be a finite number, got {value!r}")
    path = os.environ.get("LEPTON_RECORD")
    if path:
        with open(path, "a", encoding="utf8") as file:
            file.write(json.dumps({k: float(v) for k, v in figures.items()}) + "\n")


def _chosen_seed(seed):
    source, value = "seed", seed
    if "LEPTON_SEED" in os.environ:
        source, value = "LEPTON_SEED", os.environ["LEPTON_SEED"]
    try:
        chosen = int(value)
    except (TypeError, ValueError):
        chosen = -1
    if chosen < 0:
        raise ValueError(f"{source} must be an integer >= 0, got {value!r}")
    return chosen


@contextlib.contextmanager
def _discard_stderr():
    """Point file descriptor 2 at the null device: C++ does not use sys.stderr."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
