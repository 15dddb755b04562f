"""What several test files share: Chromium, and a server for a folder of pages."""

import contextlib
import functools
import http.server
import threading

import pytest

from lepton_utils.doctor import find_chromium

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page that asks for another machine is caught, and gets no answer.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="session")
def browser():
    """Chromium, started once, its profile its own; without it, tests are skipped."""
    program = find_chromium()
    if program is None:
        pytest.skip(
            "no Chromium: install it, or set CHROMIUM to its program file, "
            "to test the book in a browser"
        )
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, keeps connections open, writes no log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server whose open connections do not outlive the test."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a browser that closes a page hangs up in the middle of an answer


@contextlib.contextmanager
def serve(folder):
    """Serve a folder on loopback; yields the address, which ends in a slash."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
