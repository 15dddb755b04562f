r"""Run a web application in a process of its own, on a free port of this machine.

`running` starts one for a ``with`` block, `start` until it is told to stop. The same
from a shell, with the token in the environment and not in the list of processes::

    LEPTON_TOKEN=... python -m lepton_utils.serving package.module:create_app \
        --port 8000 --arguments '{"database": "events.db"}'

Parent and child agree by pipes, on every system: the arguments go to its stdin as a
line of JSON, its address comes back on stdout when it is ready, and it ends, after the
requests that are running, when its stdin is closed: also when the parent was killed.

uvicorn is needed: the extra ``workflow`` of the package installs it.
"""

import argparse
import contextlib
import importlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

import uvicorn

GRACE = 8  # s that running requests have to finish; containers are killed after 10


class Server:
    """A service in a process of its own.

    Attributes:
        address: str, "http://127.0.0.1:PORT".
        process: subprocess.Popen.
    """

    def __init__(self, factory, arguments, seconds):
        command = [sys.executable, "-m", "lepton_utils.serving", factory, "--child"]
        handle, path = tempfile.mkstemp(suffix=".log")
        os.close(handle)
        self.path, self.text = Path(path), ""
        with self.path.open("ab") as errors:
            self.process = self._open(command, errors)
        try:
            self.process.stdin.write(
                json.dumps(arguments, default=str).encode() + b"\n"
            )
            self.process.stdin.flush()
            self.address = self._first_line(seconds)
            with urllib.request.urlopen(self.address + "/health", timeout=seconds):
                pass
        except (OSError, ValueError) as error:
            self.stop(0)
            raise RuntimeError(f"{factory} did not start: {error}") from error

    @staticmethod
    def _open(command, errors):
        return subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # an interrupted cell does not interrupt it
        )

    def _first_line(self, seconds):
        lines = []
        read = lambda: lines.append(self.process.stdout.readline())  # noqa: E731
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(seconds)
        if not lines or not lines[0]:
            raise OSError(self.log().strip()[-2000:] or f"silent for {seconds} s")
        return lines[0].decode().strip()

    def log(self):
        """Return what the process wrote to its stderr."""
        if self.path.exists():
            self.text = self.path.read_text("utf8", errors="replace")
        return self.text

    def stop(self, seconds=GRACE + 2):
        """Let running requests finish, then end; kill what takes longer.

        Returns:
            int, the exit status: 0 where it ended by itself.
        """
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log()
        self.path.unlink(missing_ok=True)
        return self.process.returncode


def start(factory, seconds=60, **arguments):
    """Start a service in a process of its own, on a free port of this machine.

    Its end must be asked for (`Server.stop`), or comes with the end of this process.

    Args:
        factory: str "module:function", or a function that can be imported; called in
            the new process with the arguments, it returns the application.
        seconds: number, within which it must be healthy.
        **arguments: what JSON can hold; paths become str.

    Raises:
        ValueError: if the function cannot be imported by a name.
        RuntimeError: if it does not become healthy; the message has its last lines.
    """
    if callable(factory):
        factory = f"{factory.__module__}:{factory.__qualname__}"
    if not re.fullmatch(r"[\w.]+:\w+", factory) or factory.startswith("__main__"):
        expected = "'module:function' that another process can import"
        raise ValueError(f"factory is {factory!r}; expected {expected}")
    return Server(factory, arguments, seconds)


@contextlib.contextmanager
def running(factory, seconds=60, **arguments):
    """Run a service as `start` does, for a ``with`` block; yields its address."""
    server = start(factory, seconds, **arguments)
    try:
        yield server.address
    finally:
        server.stop()


class _Uvicorn(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started:
            host, port = sockets[0].getsockname()[:2]
            print(f"http://{host}:{port}", flush=True)

    def stop_with_parent(self):
        """End when stdin is closed, by the parent or by its end."""
        while os.read(0, 1):
            pass
        self.should_exit = True


def serve(factory, arguments, host="127.0.0.1", port=0, child=False):
    """Serve an application in this process until it is told to end."""
    module, name = factory.split(":")
    app = getattr(importlib.import_module(module), name)(**arguments)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=1000,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE,
    )
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, an
    # answer in two pieces waits 40 ms for the client's acknowledgment of the first.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
        listening.bind((host, port))
        server = _Uvicorn(config)
        if child:
            threading.Thread(target=server.stop_with_parent, daemon=True).start()
        server.run(sockets=[listening])


def main():
    """Serve what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("factory", help="module:function that returns the application")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--arguments", type=json.loads, default={}, help="JSON object")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        arguments = json.loads(read_line())
        return serve(options.factory, arguments, child=True)
    token = (
        {"token": os.environ["LEPTON_TOKEN"]} if "LEPTON_TOKEN" in os.environ else {}
    )
    arguments = token | options.arguments
    return serve(options.factory, arguments, options.host, options.port)


def read_line():
    """Read a line of stdin without a buffer: what comes later is for somebody else."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


if __name__ == "__main__":
    main()
