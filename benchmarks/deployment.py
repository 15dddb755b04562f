"""Load the digits service from another process, with batches and without.

Capacity: 32 connections send their next image as soon as the last one is answered; what
passes in a second is counted, with one image in a call of the model and with all that
wait, in turns, and the median of the rounds taken. Waiting: images arrive at random, at
a rate that both can bear, whether or not earlier ones have been answered; the time runs
from the moment at which an image should have been sent. The network is that of
chapters/workflow/05_deployment, untrained, for its time does not depend on its weights;
the images are scikit-learn's digits as PNG. An error is any answer but 200, or none.

The load generator shares the machine's cores with the service.

Run: python benchmarks/deployment.py
"""

import argparse
import asyncio
import contextlib
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
from service import exchange, load
from sklearn.datasets import load_digits

import lepton_utils as lu
from lepton_utils import digits_service, service
from lepton_utils.client import to_png

TOKEN = "token-of-the-benchmark"
BARS = {"batching_gain": ">= 2", "errors": "0"}


def build():
    """Return the chapter's network with random weights."""
    import keras

    image = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Rescaling(-1 / 255, offset=1.0)(image[..., :1])
    x = keras.layers.AveragePooling2D(4)(x)
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(x))
    return keras.Model(image, keras.layers.Dense(10, "softmax")(x))


def make_requests(count=500):
    """Return images (n, 32, 32, 3) and the bytes of a request for each."""
    small = np.uint8(255 - load_digits().images[:count] * 255 / 16)
    images = np.repeat(small.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=-1)
    head = "POST /predictions HTTP/1.1\r\nHost: digits\r\nContent-Type: image/png\r\n"
    head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: "
    pngs = [to_png(image) for image in images]
    return images, [f"{head}{len(png)}\r\n\r\n".encode() + png for png in pngs]


def time_calls(path, images, repeats=100):
    """Return a and c of t(b) = a + c b, in ms: median times of calls of the model."""
    predict, _ = digits_service.load(path)
    sizes, times = (1, 2, 4, 8, 16, 32, 64), []
    for size in sizes:
        spent = []
        for _ in range(repeats):
            start = time.perf_counter()
            predict(images[:size])
            spent.append(time.perf_counter() - start)
        times.append(1e3 * np.median(spent))
    c, a = np.polyfit(sizes, times, 1)
    return a, c


async def saturate(address, requests, connections, seconds):
    """Send as fast as answers come; return answers a second and errors."""
    host, port = address.removeprefix("http://").split(":")
    end, statuses = time.perf_counter() + seconds, []
    texts = itertools.cycle(requests)

    async def send():
        connection = await asyncio.open_connection(host, int(port))
        with contextlib.closing(connection[1]):
            while time.perf_counter() < end:
                statuses.append(await exchange(*connection, next(texts)))

    tasks = (send() for _ in range(connections))
    broken = await asyncio.gather(*tasks, return_exceptions=True)
    errors = sum(s != 200 for s in statuses) + sum(b is not None for b in broken)
    return statuses.count(200) / seconds, errors


def plan(requests, rate, seconds, rng):
    """Return what `load` sends: (second, False, bytes), in the order of time."""
    moments = np.sort(rng.uniform(0, seconds, int(rate * seconds)))
    return list(zip(moments, itertools.repeat(False), itertools.cycle(requests)))


def measure(path, max_batch, requests, options, rng):
    """Start the service; return its capacity, p50 and p99 in ms, and errors."""
    arguments = {"model": path, "token": TOKEN, "max_batch": max_batch}
    with service.running(digits_service.create_app, **arguments) as address:
        asyncio.run(saturate(address, requests, options.connections, 2))  # warm-up
        busy = (address, requests, options.connections, options.seconds)
        capacity, errors = asyncio.run(saturate(*busy))
        arrivals = plan(requests, options.rate, options.seconds, rng)
        spent, statuses = asyncio.run(load(address, arrivals, options.connections))
    errors += sum(status != 200 for status in statuses)
    return capacity, *1e3 * np.percentile(spent, (50, 99)), errors


def main():
    """Measure in turns; print and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10, help="of each part")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    rng, (images, requests) = lu.setup(seed=1), make_requests()
    rounds = {1: [], 64: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.keras"
        build().save(path)
        a, c = time_calls(path, images)
        for _ in range(options.rounds):
            for size, results in rounds.items():
                results.append(measure(path, size, requests, options, rng))
    alone, together = (np.median(results, axis=0) for results in rounds.values())
    names = ("requests_per_s", "p50_ms", "p99_ms")
    figures = dict(zip(names, together, strict=False))
    figures |= {f"baseline_{n}": v for n, v in zip(names, alone, strict=False)}
    figures["batching_gain"] = together[0] / alone[0]
    other = 1e3 / together[0]  # ms for each request whatever the batch, c included
    figures["predicted_gain"] = (other + a) / other
    figures["errors"] = float(sum(r[-1] for part in rounds.values() for r in part))
    figures |= {"call_ms": a, "image_ms": c}
    for name, value in figures.items():
        bar = f"  bar {BARS[name]}" if name in BARS else ""
        print(f"{name:<26}{value:>9.3f}{bar}")
    lu.record(**figures)


if __name__ == "__main__":
    main()
