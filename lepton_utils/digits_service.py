"""Recognize digits in uploaded images: a Keras model as a service.

`create_app` puts a model behind ``POST /predictions``. The body is a PNG or a JPEG as
it is, with its content type; `decode` makes an array of it or says what is wrong, and
spends little time and memory on either. A `service.Batcher` hands the images that came
in the meantime to the model in one call. The same image has the same answer and leaves
nothing behind: a client that got none may send it again.

The extra ``workflow`` of the package installs what this needs; a Keras backend comes
on top of it.

Taught in chapters/workflow/05_deployment.
"""

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import Depends, Query, Request
from PIL import Image, ImageOps
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from lepton_utils import service

KINDS = {"image/png": "PNG", "image/jpeg": "JPEG"}
SIDE, MAX_SIDE = 32, 256  # px of what the model reads; of what may be uploaded
MAX_BODY = 131_072  # bytes: two thirds of an uncompressed image of MAX_SIDE
MAX_SCANS = 64  # passes over a progressive JPEG; encoders make ten or so
MAX_QUEUE = 256  # images that wait: a quarter of a second at 1,000 images a second
MESSAGES = {
    401: "No token, or another one",
    408: "The body did not come in time",
    413: "The body is too long",
    415: "The content type is neither image/png nor image/jpeg",
    422: "The body is no such image, or an argument is wrong",
    429: "Too many requests of one client; Retry-After says how long to wait",
    503: "Too many requests of all clients; Retry-After says how long to wait",
}


def decode(data, content_type="image/png"):
    """Turn the bytes of an uploaded image into what the model reads.

    The header alone decides about size and kind, before a pixel is unpacked: 100 kB can
    unpack to 100 megapixels, of which Pillow only warns.

    Args:
        data: bytes of a square PNG or JPEG, 32 to 256 px wide, 8 bits a channel, gray
            or RGB; a photograph is turned upright as its EXIF says.
        content_type: str, "image/png" or "image/jpeg".

    Returns:
        uint8 array (32, 32, 3), larger images averaged down (box filter).

    Raises:
        ValueError: saying what came and what was expected.
    """
    kind = KINDS[content_type]
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise ValueError(f"the {kind} has too many scans; expected at most {MAX_SCANS}")
    try:
        image = Image.open(io.BytesIO(data), formats=[kind])
    except Exception as error:  # a decoder of hostile bytes raises all sorts
        expected = f"expected a {kind}, as the content type says"
        raise ValueError(f"{len(data)} bytes are no {kind}; {expected}") from error
    width, height = image.size
    if width != height or not SIDE <= width <= MAX_SIDE:
        expected = f"a square of {SIDE} to {MAX_SIDE} px"
        raise ValueError(f"the image has {width} x {height} px; expected {expected}")
    # Pillow opens 16 bits a channel as 8 without a word; a PNG's 25th byte says it.
    bits = data[24] if kind == "PNG" else 8
    clear = "transparency" in image.info or getattr(image, "is_animated", False)
    if image.mode not in ("L", "RGB") or bits != 8 or clear:
        came = f"mode {image.mode}, {bits} bits" + ", transparent or animated" * clear
        raise ValueError(f"the image has {came}; expected L or RGB, 8 bits, opaque")
    try:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:
        raise ValueError(f"the {kind} is damaged; expected a complete one") from error
    return np.asarray(upright.resize((SIDE, SIDE), Image.Resampling.BOX))


def load(path, sha256=None):
    """Load a classifier; a file with code inside, or not the expected one, is refused.

    Args:
        path: of a ``.keras`` file, uint8 (n, 32, 32, 3) -> probabilities (n, classes).
        sha256: str, the digest that the file must have, or None.

    Returns:
        predict: list of n images -> float32 array (n, classes).
        version: str, the first 12 digits of the file's SHA-256.

    Raises:
        ValueError: if the digest, the input or the output is another, or if the file
            holds code (a Lambda layer).
    """
    import keras

    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if sha256 not in (None, digest):
        raise ValueError(f"the model has SHA-256 {digest}; expected {sha256}")
    model = keras.models.load_model(path, compile=False)  # in safe mode
    shapes, expected = (model.input_shape, model.output_shape), (None, SIDE, SIDE, 3)
    if shapes[0] != expected or len(shapes[1]) != 2:
        raise ValueError(f"the model maps {shapes}; expected {expected} to (None, n)")
    model.compile(jit_compile=False)  # XLA would compile anew for every batch size
    predict = lambda images: model.predict_on_batch(np.stack(images))  # noqa: E731
    for size in (1, 2):  # the second size makes TensorFlow trace for all of them
        predict(np.zeros((size, SIDE, SIDE, 3), "uint8"))
    return predict, digest[:12]


class Candidate(BaseModel):
    """A class and its probability."""

    digit: int = Field(ge=0)
    probability: float = Field(ge=0, le=1)


class Answer(BaseModel):
    """What the model says about an image."""

    candidates: list[Candidate] = Field(description="The most probable first")
    model: str = Field(description="First digits of the model file's SHA-256")


def create_app(model, token, sha256=None, max_batch=64, **limits):
    """Return the application.

    Args:
        model: path, see `load`.
        token: str, 16 characters or more, that requests must bring.
        sha256: str or None, see `load`.
        max_batch: int >= 1, images in one call of the model; 1: no batches.
        **limits: for `service.create_app`: max_body, body_seconds, rate.
    """
    predict, version = load(model, sha256)
    state = {}

    @contextlib.asynccontextmanager
    async def lifespan(app):
        count = lambda size: app.state.metrics.count("batches_total")  # noqa: E731
        async with service.Batcher(
            predict, max_batch, max_queue=MAX_QUEUE, on_batch=count
        ) as batcher:
            app.state.metrics.gauge("images_waiting", batcher.queue.qsize)
            state["batcher"] = batcher
            yield

    limits = {"max_body": MAX_BODY} | limits
    check = lambda: {"model": version}  # noqa: E731
    app = service.create_app("Digits", lifespan, check=check, **limits)
    binary = {"schema": {"type": "string", "format": "binary"}}
    body = {"required": True, "content": dict.fromkeys(KINDS, binary)}

    @app.post(
        "/predictions",
        dependencies=[Depends(service.require_token(token))],
        responses={code: {"description": text} for code, text in MESSAGES.items()},
        openapi_extra={"requestBody": body},
    )
    async def predict_digit(
        request: Request, top: Annotated[int, Query(ge=1, le=10)] = 1
    ) -> Answer:
        """Name the digit in an image, with the next candidates where asked for."""
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in KINDS:
            text = f"content-type is {service.short.repr(kind)}; expected one of "
            raise HTTPException(415, text + ", ".join(KINDS))
        try:
            image = decode(await request.body(), kind)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        row = await state["batcher"].submit(image)
        best = np.argsort(-row, kind="stable")[:top]
        app.state.metrics.count("predictions_total", digit=int(best[0]))
        found = [Candidate(digit=i, probability=row[i]) for i in best.tolist()]
        return Answer(candidates=found, model=version)

    return app
