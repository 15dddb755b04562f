"""The skeleton of the services: limits, messages, metrics, batches, processes."""

import ast
import asyncio
import contextlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi import Depends
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_utils import batching, recommender_service, service, serving

TOKEN = "a token for the tests"
few = settings(max_examples=50, deadline=None, derandomize=True)


def create_app(slow=0.0, **options):
    """An application to try the skeleton on: run in a process of its own."""
    app = service.create_app("Test", **options)

    @app.post("/echo")
    async def echo(values: list[int]) -> int:
        return sum(values)

    @app.get("/slow")
    async def wait() -> str:
        await asyncio.sleep(slow)
        return "done"

    @app.get("/fail")
    async def fail():
        raise RuntimeError("the secret inside")

    @app.put("/guarded/{name}", dependencies=[Depends(service.require_token(TOKEN))])
    async def write(name: str) -> str:
        return name

    return app


@pytest.fixture(scope="module")
def server():
    options = {"max_body": 1000, "body_seconds": 0.5}
    server = service.start(create_app, **options)
    yield server
    server.stop()


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.address, timeout=10) as client:
        yield client


def code_lines(source):
    """Count lines that are neither empty nor comment nor docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    lines = {
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize("module", [service, serving, batching, recommender_service])
def test_modules_stay_small(module):
    assert code_lines(inspect.getsource(module)) <= 300


# ---- answers


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (("GET", "/health"), 200, '"status":"ok"'),
        (("GET", "/nothing"), 404, "nothing is at /nothing"),
        (("GET", "/echo"), 405, "GET is not possible at /echo"),
        (("POST", "/echo", b"[1, 2"), 400, "expected JSON"),
        (("POST", "/echo", b"\xff"), 400, "expected JSON in UTF-8"),
        (("POST", "/echo", b"[" * 900), 400, "expected JSON"),
        (("POST", "/echo", b"[" * 400 + b"]" * 400), 422, "body.0 is [[[[...]]]]"),
        (("POST", "/echo", b"[" + b"9" * 900 + b"]"), 200, "999"),
        (("POST", "/echo", b'["\\ud800"]'), 422, "body.0 is '\\\\ud800'"),
        (("POST", "/echo", b"[NaN]"), 422, "body.0 is nan"),
        (("POST", "/echo", b'{"a": 1}'), 422, "body is {'a': 1}; it should be a"),
        (("POST", "/echo", b""), 422, "body is missing"),
        (("PUT", "/guarded/x"), 401, "no token came; expected the header"),
    ],
)
def test_answers_say_what_came_and_what_was_expected(client, request_, status, said):
    method, path, *body = request_
    answer = client.request(
        method,
        path,
        content=body[0] if body else None,
        headers={"content-type": "application/json"},
    )
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_a_body_that_is_no_json_is_told_the_content_type(client):
    answer = client.post("/echo", content=b"[1]", headers={"content-type": "text/css"})
    assert answer.status_code == 422 and "application/json" in answer.text


def test_failure_tells_nothing_about_the_inside(server, client):
    answer = client.get("/fail")
    assert answer.status_code == 500 and "secret" not in answer.text
    for _ in range(40):  # the log is written after the answer
        if "the secret inside" in server.log():
            return
        time.sleep(0.05)
    pytest.fail("the log does not say what failed")


def test_token(client):
    def status(value):
        headers = {"authorization": value}
        return client.put("/guarded/x", headers=headers).status_code

    assert status(f"Bearer {TOKEN}") == 200
    for wrong in (f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", TOKEN):
        assert status(wrong) == 401
    assert status(b"Bearer \xfc\xff".decode("latin-1").encode("latin-1")) == 401


@pytest.mark.parametrize("token", ["", "short", None])
def test_a_short_token_is_refused(token):
    with pytest.raises(ValueError, match="expected >= 16 characters"):
        service.require_token(token)


def test_schema_comes_and_no_page_loads_from_elsewhere(client):
    assert client.get("/openapi.json").json()["info"]["title"] == "Test"
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_a_page_may_run_its_own_scripts_only():
    answer = service.page("<style>a{}</style><script>1</script><script>2</script>")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert policy.count("sha256-") == 3


# ---- limits


def raw(server, *parts, pause=0.0, patience=5):
    """Send bytes over a connection of its own; return all that comes back."""
    host, port = server.address.removeprefix("http://").split(":")
    received = b""
    connecting = socket.create_connection((host, int(port)), timeout=patience)
    with connecting as connection, contextlib.suppress(ConnectionError):
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        while piece := connection.recv(65536):
            received += piece
            if b"\r\n\r\n" in received and b"close" not in received:
                break
    return received


HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@pytest.mark.parametrize("size", [1001, 10_000, 100_000])
def test_a_long_body_is_refused(client, size):
    answer = client.post("/echo", content=b"1" * size)
    assert answer.status_code == 413
    assert "expected at most 1000" in answer.json()["detail"]


def test_a_long_body_in_chunks_is_refused(server):
    parts = [CHUNKED, *[chunk(b"1" * 600)] * 2, b"0\r\n\r\n"]
    assert b" 413 " in raw(server, *parts).split(b"\r\n")[0]


def test_an_endless_body_is_cut_off(server):
    sent = [CHUNKED] + [chunk(b"1" * 60_000)] * 200
    start = time.monotonic()
    answer = raw(server, *sent)
    assert not answer or b" 413 " in answer.split(b"\r\n")[0]
    assert time.monotonic() - start < 5


def test_a_body_of_just_the_limit_passes(server):
    body = b"[" + b" " * 997 + b"1]"
    parts = [CHUNKED, *[chunk(body[i : i + 100]) for i in range(0, 1000, 100)]]
    assert len(body) == 1000
    assert b" 200 " in raw(server, *parts, b"0\r\n\r\n").split(b"\r\n")[0]


def test_a_slow_body_is_given_up(server):
    start = time.monotonic()
    answer = raw(server, HEAD + b"content-length: 10\r\n\r\n", b"[1")
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert time.monotonic() - start < 3


def test_a_client_that_hangs_up_does_no_harm(server, client):
    for parts in (
        [HEAD],
        [HEAD + b"content-length: 10\r\n\r\n", b"["],
        [b"\0\r\n\r\n"],
    ):
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"".join(parts))
    assert client.get("/health").status_code == 200


@few
@given(
    rate=st.floats(0.5, 20),
    burst=st.integers(1, 10),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_rate_limit_bounds_every_interval(rate, burst, gaps):
    limit, now, passed = service.RateLimit(rate, burst), 0.0, []
    for gap in gaps:
        now += gap
        wait = limit.wait("a", now)
        assert wait <= 1 / rate
        if not wait:
            passed.append(now)
    for i, first in enumerate(passed):
        for j in range(i, len(passed)):
            allowed = burst + (passed[j] - first) * rate
            assert j - i + 1 <= allowed + 1e-6


def test_rate_limit_forgets_and_keeps_clients_apart(monkeypatch):
    monkeypatch.setattr(service, "LIMIT_CLIENTS", 3)
    limit = service.RateLimit(1, 1)
    assert limit.wait("a", 0) == 0 and limit.wait("a", 0) == 1
    assert all(limit.wait(name, 0) == 0 for name in "bcde")
    assert len(limit.clients) == 3


def test_rate_limit_answers_429():
    with (
        service.running(create_app, rate=(1, 5)) as address,
        httpx.Client(base_url=address) as client,
    ):
        answers = [client.get("/nothing") for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 3 <= len(refused) <= 5 and refused[0].headers["retry-after"] == "1"
    assert "requests a second" in refused[0].json()["detail"]


# ---- metrics


def test_metrics_in_prometheus_form():
    metrics = service.Metrics()
    metrics.count("tries_total", kind='a"b\\c\nd')
    metrics.count("tries_total", 2, kind="e")
    for seconds in (0.0005, 0.001, 0.3, 99):
        metrics.observe("seconds", seconds, route="/x")
    metrics.gauge("size", lambda: 7)
    lines = metrics.text().splitlines()
    assert lines[:3] == [
        "# TYPE tries_total counter",
        'tries_total{kind="a\\"b\\\\c\\nd"} 1.0',
        'tries_total{kind="e"} 2.0',
    ]
    assert 'seconds_bucket{route="/x",le="0.001"} 2' in lines
    assert 'seconds_bucket{route="/x",le="0.5"} 3' in lines
    assert 'seconds_bucket{route="/x",le="+Inf"} 4' in lines
    assert 'seconds_count{route="/x"} 4' in lines
    assert 'seconds_sum{route="/x"} 99.3015' in lines
    assert lines[-2:] == ["# TYPE size gauge", "size 7"]


def test_metrics_count_by_route_not_by_address(client):
    for name in ("a", "b"):
        client.put(f"/guarded/{name}", headers={"authorization": f"Bearer {TOKEN}"})
        client.get(f"/nothing/{name}")
    text = client.get("/metrics").text
    assert 'route="/guarded/{name}",status="200"' in text
    assert "/nothing" not in text and 'route="other",status="404"' in text
    assert "http_requests_active 1\n" in text


# ---- batches


def run_apart(main):
    """Run a coroutine function in a thread: a browser test's loop may hold this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(main())).result()


def with_batcher(work, use, **options):
    """Run ``use(batcher)`` in an event loop; return its result."""

    async def main():
        async with service.Batcher(work, **options) as batcher:
            return await asyncio.wait_for(use(batcher), 10)

    return run_apart(main)


def test_batches_form_while_one_is_worked_on():
    sizes = []

    def work(values):
        time.sleep(0.02)
        return [value * 10 for value in values]

    async def use(batcher):
        return await asyncio.gather(*(batcher.submit(i) for i in range(50)))

    results = with_batcher(work, use, max_batch=20, on_batch=sizes.append)
    assert results == [i * 10 for i in range(50)]
    assert sum(sizes) == 50 and max(sizes) <= 20 and len(sizes) <= 5


def test_a_lone_value_waits_for_max_wait_only():
    async def use(batcher):
        start = time.monotonic()
        assert await batcher.submit(1) == 1
        return time.monotonic() - start

    assert with_batcher(list, use) < 0.5
    assert 0.2 <= with_batcher(list, use, max_wait=0.2) < 1


def test_an_exception_is_for_its_value_or_for_all_of_its_batch():
    def work(values):
        if "all" in values:
            raise OSError("disk full")
        return [ValueError(v) if v == "bad" else v for v in values]

    async def use(batcher):
        submitted = [batcher.submit(value) for value in ("good", "bad")]
        first = await asyncio.gather(*submitted, return_exceptions=True)
        with pytest.raises(OSError, match="disk full"):
            await batcher.submit("all")
        return first, await batcher.submit("after")

    (good, bad), after = with_batcher(work, use)
    assert (good, str(bad), after) == ("good", "bad", "after")


def test_too_many_are_refused_and_the_end_finishes_what_waits():
    gate, done = threading.Event(), []

    def work(values):
        gate.wait(5)
        done.extend(values)
        return values

    async def main():
        async with service.Batcher(work, max_batch=1, max_queue=3) as batcher:
            tasks = [asyncio.create_task(batcher.submit(0))]
            await asyncio.sleep(0.05)
            tasks += [asyncio.create_task(batcher.submit(i)) for i in (1, 2, 3)]
            await asyncio.sleep(0.05)
            with pytest.raises(service.Busy, match="3 requests wait"):
                await batcher.submit(4)
            tasks[2].cancel()  # its client has gone; its value is worked on
            gate.set()
        with pytest.raises(service.Busy):
            await batcher.submit(5)
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = run_apart(main)
    assert done == [0, 1, 2, 3]
    assert results[:2] == [0, 1] and isinstance(results[2], asyncio.CancelledError)


# ---- processes


@pytest.mark.parametrize("end", ["stop", "SIGTERM"])
def test_the_end_finishes_running_requests(end):
    server = service.start(create_app, slow=1.0)
    answers = []
    ask = threading.Thread(
        target=lambda: answers.append(httpx.get(server.address + "/slow", timeout=10))
    )
    ask.start()
    time.sleep(0.4)
    if end == "SIGTERM":
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
    status = server.stop()
    ask.join()
    assert answers[0].json() == "done"
    assert status == (0 if end == "stop" else -signal.SIGTERM)
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.address + "/health")


def test_what_hangs_is_killed():
    server = service.start(create_app, slow=60)
    with socket.create_connection(server.address[7:].split(":")) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.3)
        start = time.monotonic()
        assert server.stop(seconds=0.5) == -signal.SIGKILL
        assert time.monotonic() - start < 5


def test_a_service_does_not_outlive_its_parent():
    program = (
        "import sys, time; from lepton_utils import service\n"
        "server = service.start('test_service:create_app')\n"
        "print(server.address, server.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        address, _pid = parent.stdout.readline().decode().split()
        assert httpx.get(address + "/health").status_code == 200
        parent.kill()
    for _ in range(100):
        try:
            httpx.get(address + "/health")
        except httpx.TransportError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the service still answers")


def test_a_start_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no attribute 'nothing'"):
        service.start("test_service:nothing")
    with pytest.raises(RuntimeError, match="unexpected keyword argument 'wrong'"):
        service.start(create_app, wrong=1)


@pytest.mark.parametrize("factory", ["module", "a b:c", lambda: None, "__main__:f"])
def test_a_factory_must_have_a_name(factory):
    with pytest.raises(ValueError, match="expected 'module:function'"):
        service.start(factory)


def test_the_command_line_serves(tmp_path):
    code = "from lepton_utils import service\ncreate_app = lambda token: "
    code += "service.create_app(token)\n"
    (tmp_path / "tiny.py").write_text(code)
    command = [sys.executable, "-m", "lepton_utils.serving", "tiny:create_app"]
    environment = os.environ | {"LEPTON_TOKEN": "from outside"}
    with subprocess.Popen(
        [*command, "--port", "0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            address = process.stdout.readline().decode().strip()
            schema = httpx.get(address + "/openapi.json").json()
        finally:
            process.terminate()
    assert schema["info"]["title"] == "from outside"


def test_small_answers_do_not_wait_for_acknowledgments(client):
    times = []
    for _ in range(20):
        start = time.perf_counter()
        client.get("/health")
        times.append(time.perf_counter() - start)
    assert sorted(times)[10] < 0.03  # Nagle's algorithm makes it 0.04 and more
