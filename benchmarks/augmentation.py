"""Compare where augmentation runs: time with it over time without, on a CPU.

A small network trains on 64 x 64 color images, batch 32. The same three random layers
(flip, rotation, translation) stand in the model, or in the tf.data pipeline, where they
work on whole batches or on single images; without an accelerator, pipeline and training
share the cores. A fourth variant rotates with SciPy in a Python generator. Last, a
plain and an antialiased resize to a quarter are compared.

Variants are timed by turns, five times each; the median of the ratios to the training
without augmentation (to the plain resize) counts. Run:
python benchmarks/augmentation.py
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy import ndimage

import lepton_utils as lu
from lepton_utils.cells import make_cells

IMAGES, SIZE, BATCH_SIZE, REPETITIONS = 512, 64, 32, 5
LARGE = 256  # pixels a side of the images that are resized
TURN = 30  # degrees


def random_layers():
    """Return the augmentation: flip, rotation, translation."""
    shift = layers.RandomTranslation(0.1, 0.1, fill_mode="constant")
    turn = layers.RandomRotation(TURN / 360, fill_mode="constant")
    return [layers.RandomFlip("horizontal"), turn, shift]


def build_network(*augmentation):
    """Return a compiled classifier of two classes with augmentation in front."""
    options = {"padding": "same", "activation": "relu"}
    body = []
    for width in (16, 32, 64):
        body += [layers.Conv2D(width, 3, **options), layers.MaxPooling2D()]
    body += [layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), *augmentation, *body])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def as_map(stack):
    """Return a function for Dataset.map: images and labels through random layers."""

    def change(x, y):
        for layer in stack:
            x = layer(x, training=True)
        return x, y

    return change


def turn_with_scipy(x, y, rng):
    """Return a tf.data pipeline of a generator that flips, turns and shifts."""

    def generate():
        for image, label in zip(x, y, strict=True):
            image = image[:, ::-1] if rng.random() < 0.5 else image
            degrees, options = rng.uniform(-TURN, TURN), {"order": 1}
            image = ndimage.rotate(image, degrees, reshape=False, **options)
            shift = (*rng.uniform(-0.1 * SIZE, 0.1 * SIZE, 2), 0)
            yield ndimage.shift(image, shift, **options), label

    kinds = tf.TensorSpec((SIZE, SIZE, 3)), tf.TensorSpec((), tf.int32)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=kinds)
    cardinality = tf.data.experimental.assert_cardinality(len(x))
    return dataset.apply(cardinality).batch(BATCH_SIZE)


def training_variants(x, y, rng):
    """Return {name: function that trains for one epoch}; the first is the baseline."""
    images, parallel = tf.data.Dataset.from_tensor_slices((x, y)), tf.data.AUTOTUNE
    plain = images.batch(BATCH_SIZE)
    inside, batches, singles = (random_layers() for _ in range(3))
    data = {
        "none": plain,
        "in_model_step_ratio": plain,
        "tf_data_step_ratio": plain.map(as_map(batches), parallel),
        "tf_data_single_step_ratio": images.map(as_map(singles), parallel).batch(
            BATCH_SIZE
        ),
        "python_step_ratio": turn_with_scipy(x, y, rng),
    }
    networks = {
        name: build_network(*(inside if name == "in_model_step_ratio" else []))
        for name in data
    }
    return {
        name: lambda name=name: networks[name].fit(
            data[name].prefetch(parallel), shuffle=False, verbose=0
        )
        for name in data
    }


def resize_variants(rng):
    """Return {name: function that resizes a batch}; the first is the baseline."""
    batch = tf.constant(rng.random((64, LARGE, LARGE, 3)), tf.float32)
    shape = (LARGE // 4, LARGE // 4)

    def shrink(antialias):
        for _ in range(20):
            result = tf.image.resize(batch, shape, antialias=antialias)
        return result.numpy()

    return {
        "none": lambda: shrink(False),
        "resize_antialias_ratio": lambda: shrink(True),
    }


def ratios(variants):
    """Time variants by turns; return {name: median ratio to "none"} and seconds."""
    for run in variants.values():
        run()  # traces, compiles, fills caches
    times = {name: [] for name in variants}
    for _ in range(REPETITIONS):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    base = np.array(times.pop("none"))
    return {name: float(np.median(t / base)) for name, t in times.items()}, base


def main():
    """Measure, print a table, hand the ratios over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of weights and angles")
    rng = lu.setup(seed=parser.parse_args().seed)
    images, _ = make_cells(IMAGES, SIZE)
    x = images.astype(np.float32) / 255
    y = (np.arange(IMAGES) % 2).astype(np.int32)  # stained or fluorescent, by turns
    steps, base = ratios(training_variants(x, y, rng))
    milliseconds = 1e3 * np.median(base) * BATCH_SIZE / IMAGES
    print(f"a step without augmentation: {milliseconds:.1f} ms")
    shrinking, _ = ratios(resize_variants(rng))
    found = {**steps, **shrinking}
    for name, ratio in found.items():
        print(f"{name:<28}{ratio:6.2f}")
    lu.record(**found)


if __name__ == "__main__":
    main()
