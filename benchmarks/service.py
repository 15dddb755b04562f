"""Load the recommender service from another process and measure what it stands.

Requests arrive at random, at a fixed mean rate, whether or not earlier ones have been
answered, as visitors do; a client that waits for its answers would send less just when
the service is slow, and hide it. A request's time runs from the moment it should have
been sent. Nine of ten ask for ten recommendations, of random users of the book's shop,
whose history of 52 days is loaded before; one of ten brings an event, which is on disk
when it is answered. An error is any answer but 200 or 201, or none.

Then the service is killed (SIGKILL) while twice as many events a second arrive, and
started again: an event that was acknowledged and is not there is lost.

Run: python benchmarks/service.py
"""

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import lepton_utils as lu
from lepton_utils import recommender_service, service

TOKEN = "token-of-the-benchmark"
SHARE_OF_EVENTS = 0.1
WARM_UP = 2  # s, not counted
BARS = {
    "requests_per_s": ">= 300",
    "p99_ms": "<= 50",
    "errors": "0",
    "lost_events": "0",
}


def prepare(folder):
    """Fit the model, fill the database; return the arguments of the service."""
    model, changes = recommender_service.shop_model()
    arguments = {"model": folder / "model.npz", "database": folder / "events.db"}
    model.save(arguments["model"])
    store = recommender_service.Store(arguments["database"])
    store.write(changes)
    store.close()
    return model, arguments | {"token": TOKEN}


def plan(model, rate, seconds, rng, share=SHARE_OF_EVENTS, name="load"):
    """Return what is sent: (second, is event, bytes), in the order of time."""
    count = int(rate * seconds)
    moments = np.sort(rng.uniform(0, seconds, count))
    users = rng.integers(model.num_users, size=count)
    popular = model.popularity / model.popularity.sum()
    items = rng.choice(len(popular), count, p=popular)
    is_event = rng.random(count) < share
    texts = [
        post_event(f"{name}-{number}", int(user), int(item))
        if event
        else get_list(user)
        for number, (user, item, event) in enumerate(
            zip(users, items, is_event, strict=True)
        )
    ]
    return list(zip(moments, is_event, texts, strict=True))


def get_list(user):
    """Return the bytes of a request for recommendations."""
    return f"GET /users/{user}/recommendations HTTP/1.1\r\nHost: shop\r\n\r\n".encode()


def post_event(name, user, item):
    """Return the bytes of a request that brings an event."""
    event = {"event_id": name, "user_id": user, "item_id": item}
    body = json.dumps(event | {"event": "view", "time": time.time()})
    head = f"POST /events HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


async def exchange(reader, writer, text):
    """Send a request over an open connection; return the status of the answer."""
    writer.write(text)
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
    await reader.readexactly(int(length))
    return int(head.split(b" ", 2)[1])


async def load(address, requests, connections):
    """Send every request at its moment.

    Returns:
        seconds: list of float, from the planned moment to the answer.
        statuses: list of int, 0 where there was no answer; of the same order.
    """
    host, port = address.removeprefix("http://").split(":")
    free = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await asyncio.open_connection(host, int(port)))
    start = time.perf_counter() + 0.1
    seconds, statuses = [0.0] * len(requests), [0] * len(requests)

    async def send(number, moment, text):
        connection = await free.get()
        try:
            statuses[number] = await exchange(*connection, text)
        except (OSError, EOFError, IndexError, ValueError):
            connection[1].close()
            with contextlib.suppress(OSError):  # nobody listens any more
                connection = await asyncio.open_connection(host, int(port))
        seconds[number] = time.perf_counter() - start - moment
        free.put_nowait(connection)

    tasks = []
    for number, (moment, _, text) in enumerate(requests):
        await asyncio.sleep(max(0.0, start + moment - time.perf_counter()))
        tasks.append(asyncio.create_task(send(number, moment, text)))
    await asyncio.wait(tasks, timeout=30)
    while not free.empty():
        free.get_nowait()[1].close()
    return seconds, statuses


def summarize(requests, seconds, statuses, duration):
    """Return the figures of all requests after the warm-up."""
    moments, is_event, _ = zip(*requests, strict=True)
    counted = np.array(moments) >= WARM_UP
    lists = counted & ~np.array(is_event)
    events = counted & np.array(is_event)
    seconds, good = np.array(seconds), np.isin(statuses, (200, 201))
    span = duration - WARM_UP
    return {
        "requests_per_s": (lists & good).sum() / span,
        "p50_ms": 1e3 * np.percentile(seconds[lists], 50),
        "p99_ms": 1e3 * np.percentile(seconds[lists], 99),
        "errors": float((~good).sum()),
        "events_per_s": (events & good).sum() / span,
        "event_p99_ms": 1e3 * np.percentile(seconds[events], 99),
    }


async def kill_under_load(server, requests, connections):
    """Kill the service in the middle of the requests; return their statuses."""
    halfway = requests[len(requests) // 2][0]
    asyncio.get_running_loop().call_later(halfway, server.process.kill)
    return (await load(server.address, requests, connections))[1]


def count_lost(arguments, model, rate, connections, rng):
    """Kill the service under a load of events; return acknowledged and lost ones."""
    server = service.start(recommender_service.create_app, **arguments)
    events = plan(model, 2 * rate, 4, rng, 1.0, "kill")
    statuses = asyncio.run(kill_under_load(server, events, connections))
    server.stop()
    with service.running(recommender_service.create_app, **arguments) as address:
        _, again = asyncio.run(load(address, events, connections))
    pairs = list(zip(statuses, again, strict=True))
    acknowledged = [second for first, second in pairs if first == 201]
    return len(acknowledged), sum(second != 200 for second in acknowledged)


def main():
    """Start, load, stop; print and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=400, help="requests a second")
    parser.add_argument(
        "--seconds", type=float, default=62, help="the first 2: warm-up"
    )
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        model, arguments = prepare(Path(folder))
        with service.running(recommender_service.create_app, **arguments) as address:
            requests = plan(model, options.rate, options.seconds, rng)
            results = asyncio.run(load(address, requests, options.connections))
        figures = summarize(requests, *results, options.seconds)
        crash = (arguments, model, options.rate, options.connections, rng)
        figures["acknowledged_before_kill"], figures["lost_events"] = count_lost(*crash)
    for name, value in figures.items():
        bar = f"  bar {BARS[name]}" if name in BARS else ""
        print(f"{name:<26}{value:>9.1f}{bar}")
    lu.record(**figures)


if __name__ == "__main__":
    main()
