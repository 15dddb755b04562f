"""Measure what three steps of an input pipeline gain: ratios of times, same content.

256 microscope pictures, stored as PNG, are decoded, enlarged and cut into batches of
32 by `tf.data`. Each pair (without the step, with it) delivers the same arrays, which
is asserted first; then both are timed by turns, and the median of the ratios counts.

parallel_map_speedup: an epoch with a plain map over one with a parallel map.
cache_speedup: an epoch that decodes over one that reads from a filled cache.
cache_ten_epochs_speedup: ten epochs without over ten with a cache, the first fills it.
prefetch_speedup: decode and train by turns over both at once, where training runs
    elsewhere and this machine only waits for it (as long as for a batch): bound by 2.
prefetch_same_cores_speedup: the same with a small network trained on these cores.
prefetch_with_defaults_speedup: as prefetch_speedup, but with the optimizations that
    TensorFlow applies unasked; everywhere else they are off, to see the steps alone.

Run: python benchmarks/data_pipeline.py
"""

import argparse
import time

import numpy as np

import lepton_utils as lu
from lepton_utils.cells import make_cells

PICTURES, BATCH_SIZE, REPETITIONS = 256, 32, 7
SIZE = (
    192  # px after enlarging: makes the map the slow part, as decoding photographs is
)


def encode(pictures):
    """Return the pictures as a list of PNG files in memory."""
    import tensorflow as tf

    return [tf.io.encode_png(picture).numpy() for picture in pictures]


def prepare(png):
    """Decode a picture and enlarge it; float32, 0-1, (SIZE, SIZE, 3)."""
    import tensorflow as tf

    picture = tf.io.decode_png(png, channels=3)
    return tf.image.resize(picture, (SIZE, SIZE), "bicubic") / 255


def pipelines(files):
    """Return {name: data set of batches}; all deliver the same."""
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    source = tf.data.Dataset.from_tensor_slices(files)
    plain = source.map(prepare).batch(BATCH_SIZE)
    alone = {
        "plain": plain,
        "parallel": source.map(prepare, num_parallel_calls=2).batch(BATCH_SIZE),
        "cache": source.map(prepare).cache().batch(BATCH_SIZE),
        "prefetch": plain.prefetch(2),
    }
    alone = {name: data.with_options(options) for name, data in alone.items()}
    return alone | {"default": plain, "default prefetch": plain.prefetch(2)}


def check_content(data):
    """Raise if two pipelines do not deliver the same batches in the same order."""
    truth = [batch.numpy() for batch in data["plain"]]
    for pipeline in data.values():
        for mine, batch in zip(truth, pipeline, strict=True):
            np.testing.assert_array_equal(mine, batch.numpy())


def training_step():
    """Return a function that trains a small convolutional network on one batch."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    targets = np.zeros((BATCH_SIZE, 1), np.float32)
    return lambda batch: model.train_on_batch(batch, targets)


def seconds(pipeline, step=lambda batch: None, epochs=1):
    """Time some epochs of a pipeline, each batch handed to a step."""
    start = time.perf_counter()
    for _ in range(epochs):
        for batch in pipeline:
            step(batch)
    return time.perf_counter() - start


def speedup(slow, fast, **how):
    """Return the median ratio of times, measured by turns after a first round."""
    seconds(slow, **how), seconds(fast, **how)
    pairs = [(seconds(slow, **how), seconds(fast, **how)) for _ in range(REPETITIONS)]
    return np.median([a / b for a, b in pairs])


def main():
    """Measure, print, hand the ratios over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the network")
    lu.setup(seed=parser.parse_args().seed)
    files = encode(make_cells(PICTURES)[0])
    data = pipelines(files)
    check_content(data)
    batches, train = PICTURES // BATCH_SIZE, training_step()
    pause = min(seconds(data["plain"]) for _ in range(3)) / batches
    first = [seconds(pipelines(files)["cache"]) for _ in range(3)]  # fills it each time
    plain, cached = (
        np.median([seconds(data[name]) for _ in range(REPETITIONS)])
        for name in ("plain", "cache")
    )
    waits = {"step": lambda batch: time.sleep(pause)}
    both, defaults = (
        [data["plain"], data["prefetch"]],
        [data["default"], data["default prefetch"]],
    )
    figures = {
        "parallel_map_speedup": speedup(data["plain"], data["parallel"]),
        "cache_speedup": speedup(data["plain"], data["cache"]),
        "cache_ten_epochs_speedup": 10 * plain / (np.median(first) + 9 * cached),
        "prefetch_speedup": speedup(*both, **waits),
        "prefetch_same_cores_speedup": speedup(*both, step=train),
        "prefetch_with_defaults_speedup": speedup(*defaults, **waits),
    }
    print(f"{'a batch is prepared in':<32}{pause * 1e3:>7.1f} ms")
    for name, value in figures.items():
        print(f"{name:<32}{value:>7.2f}")
    lu.record(**figures)


if __name__ == "__main__":
    main()
