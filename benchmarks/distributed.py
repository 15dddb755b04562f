"""Measure what a second worker buys: two processes of one core each against one.

All runs take the same steps of a small convolutional network on the same global batch
(64 images of 64 x 64 x 3 noise, which time and bytes do not depend on): strong scaling.
Every process is pinned to its own core with one thread, where the system allows it;
the workers meet over loopback, through tf.distribute.MultiWorkerMirroredStrategy.

speedup_2_workers           time of a step, one worker over two
baseline_speedup_2_workers  the same for one process with two threads on two cores: what
                            a second core buys without any distribution
gradient_difference         largest difference between the gradients of one worker and
                            of two, over the largest entry of the gradient

Each round runs the three ways one after the other; the median of the rounds' ratios
counts. Run on an idle machine: python benchmarks/distributed.py
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import lepton_utils as lu

BATCH, WARM_UP, STEPS = 64, 5, 30
LIMIT = 300  # s after which a worker ends itself
WAYS = {"one": (1, 1), "two workers": (2, 1), "two threads": (1, 2)}  # workers, threads


def free_addresses(count):
    """Return addresses of this machine whose ports nobody uses at the moment."""
    with contextlib.ExitStack() as stack:
        new = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        servers = [stack.enter_context(server) for server in new]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def run(workers, threads, seed, folder):
    """Run one way; return seconds of each step (steps,) and the gradient (n,)."""
    hosts, processes = free_addresses(workers), []
    numbers = ["--threads", str(threads), "--seed", str(seed), "--folder", str(folder)]
    common = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    common.pop("LEPTON_RECORD", None)
    try:
        for rank in range(workers):
            task = {"type": "worker", "index": rank}
            cluster = json.dumps({"cluster": {"worker": hosts}, "task": task})
            command = [sys.executable, __file__, "--worker", str(rank), *numbers]
            environment = common | ({"TF_CONFIG": cluster} if workers > 1 else {})
            processes.append(
                subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
            )
        for process in processes:
            errors = process.communicate(timeout=LIMIT)[1]
            if process.returncode:
                raise RuntimeError(errors.decode(errors="replace")[-2000:])
    finally:
        for process in processes:
            process.kill()  # does nothing to one that has ended
            process.wait()
    with np.load(folder / "0.npz") as results:
        return results["seconds"], results["gradient"]


def build():
    """Return a convolutional network of 66,218 weights."""
    from keras import Input, Sequential, layers

    convolutions = [
        layers.Conv2D(filters, 3, strides, "same", activation="relu")
        for filters, strides in ((32, 1), (32, 2), (64, 2), (64, 2))
    ]
    pool = layers.GlobalAveragePooling2D()
    return Sequential([Input((64, 64, 3)), *convolutions, pool, layers.Dense(10)])


def work(rank, threads, seed, folder):
    """Be one of the workers; leave the times and the first gradient in the folder."""
    alarm = threading.Timer(LIMIT, os._exit, [2])
    alarm.daemon = True
    alarm.start()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(
            0, [cores[(rank + k) % len(cores)] for k in range(threads)]
        )
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        model = build()
        optimizer = keras.optimizers.SGD(0.01)
        optimizer.build(model.trainable_variables)
    entropy = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="sum"
    )

    def gradients(x, y):
        with tf.GradientTape() as tape:
            share = entropy(y, model(x, training=True)) / BATCH
        return tape.gradient(share, model.trainable_variables)

    def summed(x, y):
        return tf.distribute.get_replica_context().all_reduce("SUM", gradients(x, y))

    def update(x, y):
        optimizer.apply(gradients(x, y), model.trainable_variables)

    first = tf.function(lambda x, y: strategy.run(summed, (x, y)))
    step = tf.function(lambda x, y: strategy.run(update, (x, y)))
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(BATCH, 64, 64, 3)).astype("float32")
    shards = np.array_split(np.arange(BATCH), strategy.num_replicas_in_sync)
    x = tf.constant(images[shards[rank]])
    y = tf.constant(rng.integers(0, 10, BATCH)[shards[rank]])
    gradient = np.concatenate([part.numpy().ravel() for part in first(x, y)])
    times = [time.perf_counter()]
    for _ in range(WARM_UP + STEPS):
        step(x, y)
        model.trainable_variables[-1].numpy()  # wait for the step's end
        times.append(time.perf_counter())
    seconds = np.diff(times)[WARM_UP:]
    np.savez(folder / f"{rank}.npz", seconds=seconds, gradient=gradient)


def main():
    """Measure all rounds, print a table, hand the figures over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of weights and images")
    for name, kind in (("worker", int), ("threads", int), ("folder", Path)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(options.worker, options.threads, options.seed, options.folder)
        return
    times, gradients = {way: [] for way in WAYS}, {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for way, (workers, threads) in WAYS.items():
                found = run(workers, threads, options.seed, Path(folder))
                times[way].append(np.median(found[0]))
                gradients[way] = found[1]
    for way, seconds in times.items():
        print(f"{way:<12}", *(f"{1e3 * s:8.1f} ms" for s in seconds), "a step")
    one, two, threads = (np.array(times[way]) for way in WAYS)
    whole = gradients["one"]
    difference = np.abs(whole - gradients["two workers"]).max() / np.abs(whole).max()
    figures = {
        "speedup_2_workers": np.median(one / two),
        "baseline_speedup_2_workers": np.median(one / threads),
        "gradient_difference": difference,
    }
    for name, value in figures.items():
        print(f"{name:<28}{value:.3g}")
    lu.record(**figures)


if __name__ == "__main__":
    main()
