"""Talk to a service of the book: time-outs, repetitions, messages.

What can be sent again is sent again, after random waits that double, or that the
service asks for by Retry-After; what is wrong stays wrong and is raised at once::

    with Client(address, token) as client:
        ((digit, probability),) = client.predict(png_bytes)

httpx and Pillow are needed: the extra ``workflow`` of the package installs them.

Taught in chapters/workflow/05_deployment.
"""

import email.utils
import io
import random
import time

import httpx
import numpy as np
from PIL import Image

IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}  # by RFC 9110
UNTOUCHED = {429}  # surely not worked on: anything may be sent again
TEMPORARY = UNTOUCHED | {408, 502, 503, 504}  # perhaps worked on


class ServiceError(RuntimeError):
    """What came instead of an answer; ``status`` is None where nothing came."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}" if status else text)
        self.status = status


def backoff(attempt, base, cap, random=random):
    """Return a random wait, uniform in 0 to min(cap, base * 2^attempt) seconds."""
    return random.uniform(0, min(cap, base * 2.0 ** min(attempt, 99)))


def retry_after(headers, now=None):
    """Return the seconds that a Retry-After header asks for, 0 without a readable one.

    Args:
        headers: mapping; the value is a number of seconds or a date.
        now: number, seconds since 1970; None: the clock's.
    """
    value = headers.get("retry-after", "0").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, until - (time.time() if now is None else now))


class Client:
    """A connection to a service.

    Args:
        address: str, "http://host:port".
        token: str or None, sent with each request.
        timeout: number, seconds for connecting, and for each piece of an answer.
        retries: int >= 0, repetitions of one request.
        base, cap: numbers, seconds, see `backoff`.
        deadline: number, seconds within which the last repetition may begin.
        **options: for httpx.Client.
    """

    def __init__(
        self,
        address,
        token=None,
        timeout=2.0,
        retries=4,
        base=0.1,
        cap=5.0,
        deadline=30.0,
        **options,
    ):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(
            base_url=address, headers=headers, timeout=timeout, **options
        )
        self.retries, self.deadline = retries, deadline
        self.waits = lambda attempt: backoff(attempt, base, cap)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Close the connections."""
        self.http.close()

    def request(self, method, path, repeatable=None, **options):
        """Send a request, repeatedly if need be; return the answer, an httpx.Response.

        Args:
            method: str, "GET" or another.
            path: str, begins with a slash.
            repeatable: bool, whether sent twice is as good as once; None: as the
                method says, which holds POST and PATCH for unrepeatable.
            **options: for httpx.Client.request: json, content, params ...

        Raises:
            ServiceError: if the service refuses, or does not answer in time.
        """
        if repeatable is None:
            repeatable = method.upper() in IDEMPOTENT
        end = time.monotonic() + self.deadline
        for attempt in range(self.retries + 1):
            error, again, least = None, repeatable, 0.0
            try:
                answer = self.http.request(method, path, **options)
            except httpx.TransportError as lost:
                again |= isinstance(lost, (httpx.ConnectError, httpx.ConnectTimeout))
                error = ServiceError(None, f"no answer: {lost!r}")
            else:
                if answer.is_success:
                    return answer
                statuses = TEMPORARY if repeatable else UNTOUCHED
                again = answer.status_code in statuses
                error = ServiceError(answer.status_code, detail(answer))
                least = retry_after(answer.headers)
            wait = least + self.waits(attempt)
            late = time.monotonic() + wait > end
            if not again or attempt == self.retries or late:
                raise error
            time.sleep(wait)

    def predict(self, image, top=1):
        """Have the digits service name the digit in an image.

        Args:
            image: bytes of a PNG or JPEG, or a uint8 array (h, w) or (h, w, 3).
            top: int, candidates wanted.

        Returns:
            list of (digit, probability), the most probable first.
        """
        if isinstance(image, np.ndarray):
            image = to_png(image)
        kind = "image/png" if image.startswith(b"\x89PNG") else "image/jpeg"
        answer = self.request(
            "POST",
            "/predictions",
            repeatable=True,  # it changes nothing
            content=image,
            params={"top": top},
            headers={"content-type": kind},
        )
        return [(c["digit"], c["probability"]) for c in answer.json()["candidates"]]


def detail(answer):
    """Return the reason that a service gives, or the first characters of its answer."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def to_png(array):
    """Return an image, a uint8 array (h, w) or (h, w, 3), as the bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="png")
    return file.getvalue()
