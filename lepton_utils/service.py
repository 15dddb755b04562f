"""Serve a model over HTTP: what the services of the book share.

A service is a FastAPI application that `create_app` makes and to which its own module
adds routes. It has, without a line more: limits of size, time and rate, answers to
wrong input that name what came and what was expected, ``/health``, ``/metrics`` in the
text form of Prometheus, and an end that finishes what has begun. `Batcher` collects
what many requests want done and does it in one go; `require_token` guards writes.

`running` starts such an application in a process of its own on a free port::

    with service.running("package.module:create_app", token=TOKEN) as address:
        ...

FastAPI and uvicorn are needed: the extra ``workflow`` of the package installs them.

Taught in chapters/workflow/05_deployment.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import reprlib
import time
from collections import OrderedDict, defaultdict

from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from lepton_utils.batching import Batcher, Busy
from lepton_utils.serving import running, start

__all__ = [
    "Batcher",
    "Busy",
    "Metrics",
    "RateLimit",
    "create_app",
    "page",
    "require_token",
    "running",
    "start",
]
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)  # s
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
LIMIT_CLIENTS = 10_000  # whose rate is remembered; then the longest silent is forgotten
short = reprlib.Repr()
short.maxstring, short.maxother, short.maxlevel = 60, 60, 3


# ---- metrics


class Metrics:
    """Counters, histograms and gauges, in the text form that Prometheus reads.

    Labels must come from a short list (a route, not an address): each value that is
    ever seen stays in memory. For one thread, that of the event loop.
    """

    def __init__(self):
        self.counters, self.gauges = defaultdict(float), {}
        self.histograms = defaultdict(lambda: [0] * (len(BUCKETS) + 1) + [0.0])

    def count(self, name, amount=1, **labels):
        """Add an amount >= 0 to a counter."""
        self.counters[name, tuple(labels.items())] += amount

    def observe(self, name, seconds, **labels):
        """Add a duration to a histogram."""
        histogram = self.histograms[name, tuple(labels.items())]
        histogram[sum(seconds > bound for bound in BUCKETS)] += 1
        histogram[-1] += seconds

    def gauge(self, name, function):
        """Have ``function()`` called for its number each time the text is read."""
        self.gauges[name] = function

    def text(self):
        """Return everything, a line each."""
        lines = defaultdict(list)
        for (name, labels), value in self.counters.items():
            lines[name, "counter"].append(sample(name, labels, value))
        for (name, labels), (*counts, total) in self.histograms.items():
            below = 0
            for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                below += count
                bounded = (*labels, ("le", bound))
                lines[name, "histogram"].append(
                    sample(name + "_bucket", bounded, below)
                )
            lines[name, "histogram"].append(sample(name + "_sum", labels, total))
            lines[name, "histogram"].append(sample(name + "_count", labels, below))
        for name, function in self.gauges.items():
            lines[name, "gauge"].append(sample(name, (), function()))
        blocks = (
            [f"# TYPE {name} {kind}", *block] for (name, kind), block in lines.items()
        )
        return "".join(line + "\n" for block in blocks for line in block)


def sample(name, labels, value):
    r"""Write one line: ``name{label="value"} 1.0``, with \, " and line ends escaped."""
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
    texts = (
        f'{key}="{"".join(escapes.get(c, c) for c in str(value))}"'
        for key, value in labels
    )
    inside = ",".join(texts)
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


# ---- limits


class RateLimit:
    """A bucket of tokens for each client, refilled at a constant rate.

    Args:
        rate: number > 0, requests a second in the long run.
        burst: number >= 1, requests at once.
    """

    def __init__(self, rate, burst):
        self.rate, self.burst, self.clients = rate, burst, OrderedDict()

    def wait(self, client, now):
        """Return 0 and take a token, or the seconds until there will be one."""
        tokens, last = self.clients.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - last) * self.rate)
        self.clients[client] = (tokens - (tokens >= 1), now)
        if len(self.clients) > LIMIT_CLIENTS:
            self.clients.popitem(last=False)
        return 0 if tokens >= 1 else (1 - tokens) / self.rate


class Guard:
    """What each request passes: rate, body within size and time, counts, duration.

    The body is read here, before anything else happens, and never beyond the limit,
    whether its length was announced or it came in chunks.
    """

    def __init__(self, app, metrics, max_body, body_seconds, limit):
        self.app, self.metrics, self.limit = app, metrics, limit
        self.max_body, self.body_seconds, self.active = max_body, body_seconds, 0
        metrics.gauge("http_requests_active", lambda: self.active)

    async def __call__(self, scope, receive, send):
        """Count and time one request; the protocol is ASGI's."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, statuses = time.perf_counter(), [500]

        async def send_counted(message):
            statuses.append(message.get("status", statuses[-1]))
            await send(message)

        self.active += 1
        try:
            await self.handle(scope, receive, send_counted)
        finally:
            self.active -= 1
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            labels = {"method": method, "route": route}
            self.metrics.count("http_requests_total", **labels, status=statuses[-1])
            seconds = time.perf_counter() - start
            self.metrics.observe("http_request_seconds", seconds, **labels)

    async def handle(self, scope, receive, send):
        """Answer a request, or refuse it."""
        client = (scope.get("client") or ("",))[0]
        if self.limit and (wait := self.limit.wait(client, time.monotonic())):
            text = (
                f"more than {self.limit.rate} requests a second came; wait {wait:.1f} s"
            )
            headers = {"retry-after": str(int(wait) + 1)}
            return await refusal(429, text, headers)(scope, receive, send)
        try:
            async with asyncio.timeout(self.body_seconds):
                body, size = await self.read(receive)
        except TimeoutError:
            text = f"the body was not complete after {self.body_seconds} s"
            return await refusal(408, text)(scope, receive, send)
        if size is None:
            return None  # the client has gone
        if size > self.max_body:
            text = f"body has {size} bytes or more; expected at most {self.max_body}"
            return await refusal(413, text)(scope, receive, send)
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay():
            return messages.pop() if messages else await receive()

        return await self.app(scope, replay, send)

    async def read(self, receive):
        """Return the body and its size; (b"", None) if the client hangs up.

        Of a body that is too long, up to 16 times the limit is read and thrown away:
        most clients read no answer before they have sent everything.
        """
        parts, size, more = [], 0, True
        while more and size <= 16 * self.max_body:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b"", None
            size += len(message.get("body", b""))
            if size <= self.max_body:
                parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(parts), size


# ---- answers to wrong input


def refusal(status, text, headers=None):
    """Answer ``{"detail": text}``, whatever characters of a client the text holds."""
    if status in (408, 413):
        headers = {"connection": "close"} | (headers or {})
    plain = text.encode("ascii", "backslashreplace").decode()
    return JSONResponse({"detail": plain}, status, headers)


def explain(error):
    """Turn one of pydantic's errors into: where, what came, what was expected."""
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "json_invalid":
        return f"{where}: {error['ctx']['error']}; expected JSON"
    expected = re.sub("^(Input|Value|String|JSON) should", "should", error["msg"])
    if error["type"] == "extra_forbidden":
        expected = "should not be there"
    if isinstance(error["input"], bytes):
        expected = "should come as JSON, with content-type application/json"
    if error["type"] == "missing":
        return f"{where} is missing; expected it in the request"
    return f"{where} is {short.repr(error['input'])}; it {expected}"


async def answer_invalid(request, error):
    """Answer 422, or 400 where the body is no JSON at all."""
    errors = error.errors()
    status = 400 if any(e["type"] == "json_invalid" for e in errors) else 422
    return refusal(status, ". ".join(map(explain, errors[:5])))


async def answer_http(request, error):
    """Answer what the application raised, or the framework for it."""
    text = str(error.detail)
    if error.status_code == 400 and "parsing the body" in text:
        text = "the body cannot be read; expected JSON in UTF-8, not too deep"
    if text == "Not Found":
        text = f"nothing is at {request.url.path}; /openapi.json lists what there is"
    if text == "Method Not Allowed":
        text = f"{request.method} is not possible at {request.url.path}"
    return refusal(error.status_code, text, error.headers)


async def answer_busy(request, error):
    """Answer 503: there is too much to do right now."""
    return refusal(503, str(error), {"retry-after": "1"})


async def answer_failure(request, error):
    """Answer 500 without a word about the inside; the log has the traceback."""
    return refusal(500, "the service failed; its log says why")


# ---- the application


def create_app(
    title, lifespan=None, max_body=65536, body_seconds=10, rate=None, check=None
):
    """Return a FastAPI application with limits, messages, health and metrics.

    Args:
        title: str, for the OpenAPI schema.
        lifespan: app -> async context manager, open while the service runs.
        max_body: int, bytes of a request's body; more is answered with 413.
        body_seconds: number, seconds within which the body must have come (408).
        rate: (requests a second, requests at once) of one client, or None; more is
            answered with 429.
        check: () -> dict for ``/health``; an exception means 503.

    Returns:
        FastAPI; ``app.state.metrics`` is its `Metrics`.
    """
    metrics, limit = Metrics(), RateLimit(*rate) if rate else None
    handlers = {
        RequestValidationError: answer_invalid,
        HTTPException: answer_http,
        Busy: answer_busy,
        Exception: answer_failure,
    }
    app = FastAPI(  # the usual page of documentation would ask another server
        title=title,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=handlers,
    )
    app.state.metrics = metrics
    app.add_middleware(
        Guard,
        metrics=metrics,
        max_body=max_body,
        body_seconds=body_seconds,
        limit=limit,
    )

    @app.get("/health")
    async def health() -> dict:
        """Say whether the service can work."""
        try:
            return {"status": "ok"} | (check() if check else {})
        except Exception as error:
            raise HTTPException(503, f"not healthy: {type(error).__name__}") from error

    @app.get("/metrics", response_class=PlainTextResponse)
    async def read_metrics():
        """Return counts and durations, for Prometheus."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def require_token(token):
    """Return a dependency that lets requests with this bearer token through.

    Args:
        token: str, 16 characters or more; compared in constant time.

    Raises:
        ValueError: if the token is shorter.
    """
    if not isinstance(token, str) or len(token) < 16:
        raise ValueError("token is too short or no text; expected >= 16 characters")

    async def check(given=Security(HTTPBearer(auto_error=False))):  # noqa: B008
        came = given.credentials if given else ""
        if not hmac.compare_digest(came.encode(), token.encode()):
            what = "another token came" if came else "no token came"
            text = f"{what}; expected the header 'Authorization: Bearer TOKEN'"
            raise HTTPException(401, text, {"www-authenticate": "Bearer"})

    return check


def page(html):
    """Return an answer with one self-contained page, which can load nothing else.

    Its policy allows requests to its own server, and exactly the style sheets and the
    scripts that the text holds, by their hashes: no injected ones.
    """
    policy = ["default-src 'none'", "connect-src 'self'", "img-src data:"]
    policy += ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'self'"]
    for tag in ("style", "script"):
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        hashes = (f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)
        policy.append(" ".join((f"{tag}-src", *hashes)))
    headers = {"content-security-policy": "; ".join(policy)}
    headers |= {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    return HTMLResponse(html, headers=headers)
