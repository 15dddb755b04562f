"""Compare LeptonNet's speed with Keras's: ours over theirs, below 1 where we win.

Three pairs do the same work on the same float32 arrays: 200 training steps of a dense
network and of a convolutional one (digits, batch 32, Adam), and one convolution layer
on 32 images of 64 x 64 x 16. Keras is compiled and warm before the clock starts. Each
pair is timed five times, ours and Keras's by turns; the median of
the five ratios counts.

Keras uses all cores. So do NumPy's matrix products in the convolution, which are large;
those of a training step are too small to share, and two threads that wait for each
other are slower, on a busy machine many times: they run on one thread. Run:
python benchmarks/leptonnet.py
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import lepton_utils as lu
from lepton_utils import leptonnet as ln
from lepton_utils.leptonnet import Tensor

STEPS, BATCH_SIZE, REPETITIONS = 200, 32, 5
PAUSE = 0.3  # s before each timing: OpenBLAS's idle threads spin and would slow Keras
BARS = {"mlp_step_ratio": 1.0, "cnn_step_ratio": 3.0, "conv_forward_ratio": 2.0}


def load_batches():
    """Return digits (rows, 8, 8, 1), 0-1, and labels, repeated to fill all steps."""
    digits = load_digits()
    rows = np.arange(STEPS * BATCH_SIZE) % len(digits.target)
    images = (digits.images[rows, :, :, None] / 16).astype(np.float32)
    return images, digits.target[rows]


def networks(rng):
    """Return {name: (our network, Keras's layers)} of the same structure."""
    from keras import layers

    relu = {"padding": "same", "activation": "relu"}
    return {
        "mlp_step_ratio": (
            ln.Sequential(
                ln.flatten, ln.Dense(64, 128, rng), Tensor.relu, ln.Dense(128, 10, rng)
            ),
            [layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(10)],
        ),
        "cnn_step_ratio": (
            ln.Sequential(
                *(ln.Conv2D(1, 16, rng, padding=1), Tensor.relu, ln.max_pool),
                *(ln.Conv2D(16, 32, rng, padding=1), Tensor.relu, ln.max_pool),
                *(ln.flatten, ln.Dense(128, 10, rng)),
            ),
            [
                *(layers.Conv2D(16, 3, **relu), layers.MaxPooling2D()),
                *(layers.Conv2D(32, 3, **relu), layers.MaxPooling2D()),
                *(layers.Flatten(), layers.Dense(10)),
            ],
        ),
    }


def training_pair(model, keras_layers, x, y):
    """Return two functions that train for all steps once: ours, Keras's."""
    import keras

    theirs = keras.Sequential([keras.Input(x.shape[1:]), *keras_layers])
    theirs.set_weights([p.data for p in model.parameters().values()])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(keras.optimizers.Adam(0.001), loss)
    optimizer = ln.Adam(model.parameters(), 0.001)

    def ours():
        return ln.fit(model, x, y, ln.cross_entropy, optimizer, 1, BATCH_SIZE)

    def fit():
        return theirs.fit(x, y, batch_size=BATCH_SIZE, shuffle=False, verbose=0)

    first, truth = ours()["loss"], fit().history["loss"]  # warms both up, too
    np.testing.assert_allclose(first, truth, rtol=1e-3)
    return ours, fit


def convolution_pair(rng):
    """Return two functions that apply one convolution: ours, a compiled Keras call."""
    import keras
    import tensorflow as tf

    images = rng.normal(size=(32, 64, 64, 16)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 16, 32)).astype(np.float32)
    x, k = tf.constant(images), tf.constant(kernel)
    compiled = tf.function(lambda x, k: keras.ops.conv(x, k, padding="same"))

    def ours():
        with ln.no_grad():
            return ln.conv2d(images, kernel, padding=1).data

    np.testing.assert_allclose(ours(), compiled(x, k).numpy(), atol=1e-3)
    return ours, lambda: compiled(x, k)


def seconds(function, calls):
    """Time a number of calls of a function, after a pause."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return time.perf_counter() - start


def measure(ours, theirs, calls=1):
    """Return medians, measured by turns: ratio, our seconds a call, Keras's."""
    seconds(ours, 1), seconds(theirs, 1)
    times = [(seconds(ours, calls), seconds(theirs, calls)) for _ in range(REPETITIONS)]
    a, b = np.array(times).T
    return np.median(a / b), np.median(a) / calls, np.median(b) / calls


def main():
    """Measure, print a table, hand the ratios over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the initial weights")
    rng = lu.setup(seed=parser.parse_args().seed)
    x, y = load_batches()
    pairs = {  # name -> our function, Keras's, calls, threads of NumPy (None: all)
        name: (*training_pair(*both, x, y), 1, 1)
        for name, both in networks(rng).items()
    }
    pairs["conv_forward_ratio"] = (*convolution_pair(rng), 10, None)
    ratios = {}
    print(f"{'':<20}{'ratio':>8}{'bar':>6}{'ours':>12}{'Keras':>12}")
    for name, (*pair, threads) in pairs.items():
        with threadpool_limits(threads, user_api="blas"):
            ratios[name], a, b = measure(*pair)
        times = f"{a * 1e3:>9.1f} ms{b * 1e3:>9.1f} ms"
        print(f"{name:<20}{ratios[name]:>8.2f}{BARS[name]:>6}{times}")
    lu.record(**ratios)


if __name__ == "__main__":
    main()
