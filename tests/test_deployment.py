"""The digits service: bad images, answers, nonsense; its client; its container."""

import contextlib
import io
import json
import random
import re
import shlex
import struct
import subprocess
import sys
import time
import zlib
from importlib import import_module
from pathlib import Path

import httpx
import nbformat
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    response_schema_conformance,
    status_code_conformance,
)
from test_service import code_lines

import lepton_utils
from lepton_utils import client, digits_service, service

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / "chapters" / "workflow"
TOKEN = "a token for the tests"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
RNG = np.random.default_rng(0)
SCAN = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
pytestmark = pytest.mark.filterwarnings(  # Keras's own, when it saves
    "ignore:__array__ implementation:DeprecationWarning"
)
few = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def encode(picture, kind="png", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(*shape, kind="png", **options):
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    return encode(Image.fromarray(pixels), kind, **options)


def build(*layers):
    import keras

    return keras.Sequential([keras.Input((32, 32, 3), dtype="uint8"), *layers])


@pytest.fixture(scope="module")
def model():
    lepton_utils.setup(seed=1)
    from keras import layers

    scale, pool = layers.Rescaling(1 / 255), layers.AveragePooling2D(4)
    return build(scale, pool, layers.Flatten(), layers.Dense(10, "softmax"))


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "digits.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def server(model_file):
    server = service.start(digits_service.create_app, model=model_file, token=TOKEN)
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log()


def post(server, body, kind="image/png", **headers):
    headers = HEADERS | {"content-type": kind} | headers
    url = server.address + "/predictions"
    return httpx.post(url, content=body, headers=headers, timeout=10)


@pytest.mark.parametrize("module", [client, digits_service])
def test_modules_stay_small(module):
    assert code_lines(Path(module.__file__).read_text("utf8")) <= 300


# ---- good images


def test_a_png_arrives_pixel_by_pixel():
    np.testing.assert_array_equal(digits_service.decode(client.to_png(SCAN)), SCAN)
    gray = digits_service.decode(client.to_png(SCAN[..., 0]))
    np.testing.assert_array_equal(gray, np.repeat(SCAN[..., :1], 3, axis=2))


def test_a_larger_image_is_averaged_down():
    large = SCAN.repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(digits_service.decode(client.to_png(large)), SCAN)


def test_a_photograph_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to see it upright
    pixels = np.full((32, 32, 3), 200, np.uint8)
    pixels[:8] = 20
    data = encode(Image.fromarray(pixels), "jpeg", quality=95, exif=exif)
    upright = digits_service.decode(data, "image/jpeg")
    assert upright[:, -8:].mean() < 60 < 150 < upright[:, :20].mean()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpegs_are_read(options):
    data = noise(256, 256, 3, kind="jpeg", **options)
    assert digits_service.decode(data, "image/jpeg").shape == (32, 32, 3)


def test_answers_are_the_model_s(server, model):
    truth = model.predict_on_batch(SCAN[None])[0]
    answer = post(server, client.to_png(SCAN)).json()["candidates"]
    assert [c["digit"] for c in answer] == [truth.argmax()]
    with client.Client(server.address, TOKEN) as sdk:
        ranked = sdk.predict(SCAN, top=10)
        assert sdk.predict(noise(64, 64, 3, kind="jpeg"))
    order = [digit for digit, _ in ranked]
    assert sorted(order) == list(range(10)) and order[0] == truth.argmax()
    np.testing.assert_allclose([p for _, p in ranked], truth[order], atol=1e-6)


def test_batches_are_counted_and_the_version_is_said(server, model_file):
    predict, version = digits_service.load(model_file)
    assert predict([SCAN] * 5).shape == (5, 10)
    assert httpx.get(server.address + "/health").json()["model"] == version
    post(server, client.to_png(SCAN))
    text = httpx.get(server.address + "/metrics").text
    assert "batches_total" in text and "images_waiting 0\n" in text
    assert re.search(r'predictions_total\{digit="\d"\} [1-9]', text)


# ---- bad images


def many_scans(copies):
    """A small JPEG that asks for its last pass again and again."""
    data = encode(Image.new("L", (256, 256), 128), "jpeg", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * copies + b"\xff\xd9"


def deep_color():
    """A PNG with 16 bits in each of three channels; Pillow cannot write one."""

    def chunk(name, data):
        body = name + data
        size, sum_ = len(data), zlib.crc32(body)
        return struct.pack(">I", size) + body + struct.pack(">I", sum_)

    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(32 * (1 + 32 * 6)))
    parts = (b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


GOOD = client.to_png(SCAN)
PHOTO = noise(64, 64, 3, kind="jpeg")
FRAMES = [Image.fromarray(SCAN), Image.fromarray(255 - SCAN)]
BOMB = encode(Image.new("1", (10_000, 10_000)))
BAD = {
    "truncated PNG": (GOOD[: len(GOOD) // 2], "damaged"),
    "header alone": (GOOD[:33], "PNG"),
    "PNG with wrong sums": (GOOD[:60] + bytes(40) + GOOD[100:], "PNG"),
    "0 bytes": (b"", "0 bytes are no PNG"),
    "bomb": (BOMB, "10000 x 10000 px; expected a square of 32 to 256"),
    "larger bomb": (encode(Image.new("1", (20_000, 20_000))), "expected a"),
    "GIF": (noise(32, 32, kind="gif"), "are no PNG"),
    "WEBP": (noise(32, 32, 3, kind="webp"), "are no PNG"),
    "JPEG, said to be a PNG": (PHOTO, "are no PNG"),
    "text": (b"a seven, honestly", "17 bytes are no PNG"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "are no PNG"),
    "RGBA": (noise(32, 32, 4), "mode RGBA, 8 bits; expected L or RGB"),
    "gray and alpha": (noise(32, 32, 2), "mode LA"),
    "palette": (encode(Image.fromarray(SCAN).convert("P")), "mode P"),
    "two colors": (encode(Image.new("1", (32, 32))), "mode 1"),
    "16 bits, gray": (encode(Image.fromarray(SCAN[..., 0] * np.uint16(9))), "16 bits"),
    "16 bits, color": (deep_color(), "mode RGB, 16 bits"),
    "a color that is none": (
        encode(Image.fromarray(SCAN), transparency=(1, 2, 3)),
        "transparent",
    ),
    "animation": (
        encode(FRAMES[0], save_all=True, append_images=FRAMES[1:]),
        "animated",
    ),
    "1 x 1": (noise(1, 1, 3), "1 x 1 px"),
    "too small": (noise(31, 31, 3), "31 x 31 px"),
    "too large": (encode(Image.new("RGB", (257, 257))), "257 x 257 px"),
    "not square": (noise(32, 64, 3), "64 x 32 px"),
}
BAD_JPEGS = {
    "truncated JPEG": (PHOTO[: len(PHOTO) // 2], "the JPEG is damaged"),
    "PNG, said to be a JPEG": (GOOD, "are no JPEG"),
    "CMYK": (encode(Image.new("CMYK", (64, 64)), "jpeg"), "mode CMYK"),
    "scans without end": (many_scans(9_000), "too many scans; expected at most 64"),
}


@pytest.mark.parametrize("name", [*BAD, *BAD_JPEGS])
def test_a_bad_image_is_refused_soon_and_with_a_reason(server, name):
    kind = "image/jpeg" if name in BAD_JPEGS else "image/png"
    body, said = (BAD | BAD_JPEGS)[name]
    start = time.monotonic()
    answer = post(server, body, kind)
    assert (answer.status_code, said in answer.text) == (422, True), answer.text
    assert time.monotonic() - start < 2  # 5 ms or so; a machine may be busy


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("image/png", 200),
        ("IMAGE/PNG; charset=binary", 200),
        ("image/gif", 415),
        ("application/json", 415),
        ("multipart/form-data; boundary=x", 415),
        ("x" * 500, 415),
        ("", 415),
    ],
)
def test_content_types(server, kind, status):
    answer = post(server, GOOD, kind)
    assert answer.status_code == status, answer.text
    assert status == 200 or "expected one of image/png, image/jpeg" in answer.text


def test_size_token_and_arguments(server):
    assert post(server, bytes(131_073)).status_code == 413
    for wrong in ("Bearer nobody", "", TOKEN):
        assert post(server, GOOD, authorization=wrong).status_code == 401
    url, headers = server.address + "/predictions", HEADERS | {"content-type": "x"}
    for top in ("0", "11", "x", ""):
        answer = httpx.post(url, params={"top": top}, content=GOOD, headers=headers)
        assert answer.status_code == 422 and "query.top is" in answer.text


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads Linux's /proc")
def test_bombs_cost_no_memory(server):
    status = Path(f"/proc/{server.process.pid}/status")

    def peak_mb():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) / 1024

    post(server, GOOD)
    before = peak_mb()
    for _ in range(20):
        assert post(server, BOMB).status_code == 422
        assert post(server, many_scans(9_000), "image/jpeg").status_code == 422
    assert peak_mb() - before < 30  # one bomb unpacked: 100 MB


def test_the_dearest_good_image_is_cheap():
    dearest = many_scans(digits_service.MAX_SCANS - 10)
    start = time.perf_counter()
    digits_service.decode(dearest, "image/jpeg")
    assert time.perf_counter() - start < 1  # about 10 ms


@few
@given(
    data=st.data(),
    original=st.sampled_from([GOOD, PHOTO, many_scans(3)]),
    kind=st.sampled_from(sorted(digits_service.KINDS)),
)
@pytest.mark.filterwarnings("ignore")  # Pillow's, of strange metadata
def test_whatever_is_changed_in_a_file_it_is_an_image_or_a_value_error(
    data, original, kind
):
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    changed = bytes(changed[: data.draw(st.integers(1, len(changed)))])
    with contextlib.suppress(ValueError):
        assert digits_service.decode(changed, kind).shape == (32, 32, 3)


images = st.sampled_from([GOOD, PHOTO, *(b for b, _ in BAD.values() if len(b) < 9999)])
for media_type in digits_service.KINDS:
    schemathesis.openapi.media_type(media_type, st.one_of(st.binary(), images))


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_makes_the_service_fail(server, mode):
    url = server.address + "/openapi.json"
    schema = schemathesis.openapi.from_url(url, wait_for_schema=5)
    checks = [
        not_a_server_error,
        response_schema_conformance,
        status_code_conformance,
    ]
    tried = []
    for operation in schema.get_all_operations():
        cases = operation.ok().as_strategy(generation_mode=mode)

        @settings(few, max_examples=100)
        @given(case=cases)
        def check(case):
            answer = case.call(headers=HEADERS, timeout=5)
            tried.append(answer.status_code)
            framework = answer.status_code in (400, 405)  # the same at any address
            case.validate_response(answer, checks=checks[:1] if framework else checks)

        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong in /health
            check()
    assert len(tried) >= 100 and max(tried) < 500
    assert tried.count(422) > 30 and (200 in tried or mode.value == "negative")


# ---- the model's file


def test_only_the_expected_file_is_loaded(model_file, tmp_path):
    with pytest.raises(ValueError, match=r"has SHA-256 \w{64}; expected 0000"):
        digits_service.load(model_file, sha256="0" * 64)
    with pytest.raises(RuntimeError, match="expected 0000"):
        arguments = {"model": model_file, "token": TOKEN, "sha256": "0" * 64}
        service.start(digits_service.create_app, **arguments)


def test_a_file_with_code_inside_is_refused(tmp_path):
    from keras import layers

    path = tmp_path / "sly.keras"
    build(layers.Lambda(lambda x: x), layers.Flatten(), layers.Dense(10)).save(path)
    with pytest.raises(ValueError, match="Lambda"):
        digits_service.load(path)


def test_a_model_of_another_shape_is_refused(tmp_path):
    from keras import layers

    build(layers.Rescaling(1.0)).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"expected \(None, 32, 32, 3\) to"):
        digits_service.load(tmp_path / "other.keras")


# ---- the client


def connect(script, **options):
    """Return a client of a service that answers by script, and what it was asked."""
    asked = []

    def answer(request):
        asked.append(request)
        step = script[min(len(asked), len(script)) - 1]
        if isinstance(step, Exception):
            raise step
        status, headers = step if isinstance(step, tuple) else (step, {})
        return httpx.Response(status, json={"detail": "so it is"}, headers=headers)

    options = {"base": 1e-4, "transport": httpx.MockTransport(answer)} | options
    return client.Client("http://service", TOKEN, **options), asked


LOST, UNREACHED = httpx.ReadTimeout("silence"), httpx.ConnectError("closed")


@pytest.mark.parametrize(
    ("script", "method", "repeatable", "calls", "end"),
    [
        ([503, 502, 504, 408, 200], "GET", None, 5, 200),
        ([LOST, httpx.RemoteProtocolError("hung up"), 200], "PUT", None, 3, 200),
        ([503, 200], "POST", None, 1, 503),
        ([LOST, 200], "POST", None, 1, None),
        ([UNREACHED, 429, 201], "POST", None, 3, 201),
        ([503, LOST, 200], "POST", True, 3, 200),
        ([503, 200], "GET", False, 1, 503),
        ([500, 200], "GET", None, 1, 500),
        ([422, 200], "GET", None, 1, 422),
        ([301, 200], "GET", None, 1, 301),
        ([503], "GET", None, 5, 503),
        ([UNREACHED], "POST", None, 5, None),
    ],
)
def test_what_is_sent_again(script, method, repeatable, calls, end):
    sdk, asked = connect(script)
    with sdk:
        if end in (200, 201):
            assert sdk.request(method, "/", repeatable).status_code == end
        else:
            said = "so it is" if end else "no answer"
            with pytest.raises(client.ServiceError, match=said) as caught:
                sdk.request(method, "/", repeatable)
            assert caught.value.status == end
    assert len(asked) == calls
    assert {r.headers["authorization"] for r in asked} == {f"Bearer {TOKEN}"}


def test_retry_after_is_the_least_wait():
    sdk, asked = connect([(429, {"retry-after": "1"}), 200])
    start = time.monotonic()
    assert sdk.request("GET", "/").status_code == 200
    assert 1 <= time.monotonic() - start < 3 and len(asked) == 2


def test_a_deadline_ends_it_before_a_long_wait():
    sdk, asked = connect([(503, {"retry-after": "60"}), 200], deadline=5)
    start = time.monotonic()
    with pytest.raises(client.ServiceError):
        sdk.request("GET", "/")
    assert time.monotonic() - start < 1 and len(asked) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("soon", 0),
        ("-3", 0),
        ("²", 0),
        ("Wed, 99 Oct 2015 07:27:00 GMT", 0),
        ("", 0),
    ],
)
def test_retry_after(value, seconds):
    headers = {"retry-after": value}
    assert client.retry_after(headers, now=1445412470) == seconds
    assert client.retry_after({}) == 0


def test_waits_double_up_to_a_cap_and_are_uniform():
    rng = random.Random(1)
    for attempt, longest in enumerate((0.1, 0.2, 0.4, 0.8, 1.0, 1.0)):
        waits = [client.backoff(attempt, 0.1, 1.0, rng) for _ in range(4000)]
        assert 0 <= min(waits) < 0.01 * longest and max(waits) <= longest
        assert abs(np.mean(waits) / longest - 0.5) < 0.02
    assert client.backoff(2000, 0.1, 1.0, rng) <= 1  # no overflow


def test_answers_that_are_no_json_are_quoted():
    def answer(request):
        return httpx.Response(404, text="<h1>not here</h1>")

    sdk = client.Client("http://service", transport=httpx.MockTransport(answer))
    with pytest.raises(client.ServiceError, match="404: <h1>not here"):
        sdk.request("GET", "/")


def test_a_service_that_is_down_and_comes_back(model_file):
    arguments = {"model": model_file, "token": TOKEN, "rate": [1, 2]}
    with service.running(digits_service.create_app, **arguments) as address:
        with client.Client(address, TOKEN) as sdk:
            assert all(len(sdk.predict(SCAN)) == 1 for _ in range(4))  # waits for 429
        refused = [httpx.get(address + "/health").status_code for _ in range(5)]
    assert 429 in refused
    gone = pytest.raises(client.ServiceError, match="no answer: ConnectError")
    with client.Client(address, TOKEN, retries=2, base=0.01) as sdk, gone:
        sdk.predict(SCAN)


# ---- the container


def instructions():
    """Return the Containerfile's (instruction, arguments), continuations joined."""
    text = (WORKFLOW / "Containerfile").read_text("utf8").replace("\\\n", " ")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [line.split(maxsplit=1) for line in lines]


def last_stage():
    steps = instructions()
    start = max(i for i, (name, _) in enumerate(steps) if name == "FROM")
    return steps[start:]


def test_container_base_is_pinned():
    bases = [rest for name, rest in instructions() if name == "FROM"]
    pinned = r"docker\.io/library/python:3\.11\.\d+-slim-\w+(@sha256:\w{64})?( AS \w+)?"
    assert len(bases) == 2 and all(re.fullmatch(pinned, base) for base in bases)


def test_container_serves_as_nobody_special_and_says_whether_it_is_well():
    stage = last_stage()
    names = [name for name, _ in stage]
    user = dict(stage)["USER"]
    assert user.isdigit() and int(user) > 0 and names.count("USER") == 1
    assert names.index("USER") > max(i for i, n in enumerate(names) if n == "RUN")
    check = json.loads(dict(stage)["HEALTHCHECK"].split(" CMD ")[1])
    assert check[0] == "python" and ":8000/health" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")
    assert {"HEALTHCHECK", "EXPOSE", "CMD"} <= set(names) and "ADD" not in names


def test_container_installs_the_wheel_at_tested_versions():
    (install,) = (
        rest for name, rest in last_stage() if name == "RUN" and "pip" in rest
    )
    words = shlex.split(install)
    assert {"--no-cache-dir", "--constraint", "requirements.txt"} <= set(words)
    assert "/wheels/*.whl" in install and "[workflow]" in install
    copied = [rest for name, rest in last_stage() if name == "COPY"]
    assert copied == [
        "requirements.txt ./",
        "--from=build /wheels /wheels",
    ]
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            assert all((ROOT / path).exists() for path in rest.split()[:-1]), rest


def test_container_holds_no_secret():
    for name, rest in instructions():
        if name in ("ENV", "ARG", "LABEL"):
            assert not re.search("token|secret|passw|key", rest, re.IGNORECASE)
        assert TOKEN not in rest and "--mount=type=secret" not in rest


def test_container_command_is_the_service_s():
    command = json.loads(dict(last_stage())["CMD"])
    assert command[:3] == ["python", "-m", "lepton_utils.serving"]
    module, factory = command[3].split(":")
    arguments = json.loads(command[command.index("--arguments") + 1])
    names = {"model", "token", "sha256", "max_batch", "max_body", "body_seconds"}
    assert set(arguments) <= names | {"rate"} and arguments["model"].startswith("/")
    assert getattr(import_module(module), factory) is digits_service.create_app
    assert command[command.index("--port") + 1] in dict(last_stage())["EXPOSE"]


def test_the_chapter_shows_the_containerfile():
    nb = nbformat.read(WORKFLOW / "05_deployment.ipynb", 4)
    (shown,) = (c.source for c in nb.cells if "```dockerfile" in c.source)
    block = re.search(r"```dockerfile\n(.*?)\n```", shown, re.DOTALL)[1]
    assert block.strip() == (WORKFLOW / "Containerfile").read_text("utf8").strip()


def test_the_service_starts_without_what_only_notebooks_need():
    """The wheel does not bring IPython: nothing that serves may import it."""
    code = "import sys; sys.modules['IPython'] = None; "
    code += "import lepton_utils.digits_service, lepton_utils.client"
    subprocess.run([sys.executable, "-c", code], check=True)
