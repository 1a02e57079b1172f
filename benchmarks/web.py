"""A web server as it is deployed, and clients that cost little beside it."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.processes import Child, stop

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 60


@contextmanager
def web_server(log: Path, **environment: str) -> Iterator[int]:
    """A running web server as docs/operations.md has it; its port, once it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--threads", "8", "--no-control-socket"]
    child = Child("The web server", command, log, {**os.environ, **environment}, ROOT)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _listens(port):
            if child.has_ended or time.monotonic() > deadline:
                raise RuntimeError(f"The web server does not listen:\n{child.last_lines()}")
            time.sleep(0.05)
        yield port
    finally:
        stop([child], 10, hurry=lambda: False)


def post(port: int, path: str, body: Any, headers: Mapping[str, str], requests: int, clients: int) -> float:
    """Send the same request so many times over so many kept connections; seconds from the first to the last answer.

    RuntimeError where one is answered with anything but 201.
    """
    content = json.dumps(body).encode()
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    faults: list[str] = []
    shares = [requests // clients + (number < requests % clients) for number in range(clients)]
    threads = [
        threading.Thread(target=_client, args=(port, head.encode() + content, share, faults)) for share in shares
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if faults:
        raise RuntimeError(f"POST {path}: {faults[0]}")
    return seconds


def _client(port: int, message: bytes, requests: int, faults: list[str]) -> None:
    """One connection. Answers are read by hand: http.client would cost as much as the view that it asks."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(requests):
                connection.sendall(message)
                head, _, rest = _until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 201"):
                    raise RuntimeError(f"{head[:200]!r} {rest[:300]!r}")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                while len(rest) < length:
                    rest += _received(connection)
    except (OSError, RuntimeError, StopIteration) as error:
        faults.append(f"{type(error).__name__}: {error}")


def _until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        found += _received(connection)
    return found


def _received(connection: socket.socket) -> bytes:
    piece = connection.recv(1 << 16)
    if not piece:
        raise RuntimeError("The server closed the connection.")
    return piece


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
