"""A TCP proxy before PostgreSQL that lets a commit through and keeps its reply: what a broken network does at the worst
moment. Bytes really travel; the proxy reads along as far as it must to know what commits."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

WRITES = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+\"?(?:workflows|departments)_(?!worker\b|servicerun\b)"
)
"""A statement that changes what the product promises to keep. Who is alive, and when services are due, is not that."""

IDLE = b"Z\0\0\0\5I"
"""ReadyForQuery, outside of a transaction: what was asked for is done, and durable."""


@dataclass
class Lane:
    """One connection: its statements by name, and where it stands."""

    prepared: dict[bytes, str] = field(default_factory=dict)
    portals: dict[bytes, str] = field(default_factory=dict)
    started: bool = False
    unread: bytes = b""
    in_transaction: bool = False
    wrote: bool = False
    losing: bool = False


class LossyProxy:
    """Listens on a port of its own and passes everything on to `server`, a (host, port) or the path of a socket.

    After `lose_next_commit()` the next commit of anything that matters, on whatever connection, reaches the server and
    is done there; its reply is dropped and the connection with it, and `lost` is called.
    """

    def __init__(self, server: tuple[str, int] | str, lost: Callable[[], None]) -> None:
        self.server = server
        self.lost = lost
        self._armed = False
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_commit(self) -> None:
        self._armed = True

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.socket(socket.AF_UNIX if isinstance(self.server, str) else socket.AF_INET)
            server.connect(self.server)
            for end in (client, server):
                if end.family != socket.AF_UNIX:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lane = Lane()
            threading.Thread(target=self._ask, args=(client, server, lane), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server, lane), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, lane: Lane) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self._read(lane, data)
                server.sendall(data)
        _close(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, lane: Lane) -> None:
        last = b""
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not lane.losing:
                    client.sendall(data)
                    continue
                last = (last + data)[-len(IDLE) :]
                if last == IDLE:
                    self.lost()
                    break
        _close(client, server)

    def _read(self, lane: Lane, data: bytes) -> None:
        """Read along: what a client asks for, message by message, before it is passed on."""
        lane.unread += data
        while True:
            kind = 1 if lane.started else 0  # the first message alone has no letter
            if len(lane.unread) < kind + 4:
                return
            end = kind + int.from_bytes(lane.unread[kind : kind + 4], "big")
            if len(lane.unread) < end:
                return
            message, lane.unread = lane.unread[:end], lane.unread[end:]
            if lane.started:
                self._understand(lane, message[:1], message[5:])
            lane.started = True

    def _understand(self, lane: Lane, kind: bytes, content: bytes) -> None:
        if kind == b"Q":
            self._run(lane, content.rstrip(b"\0").decode())
        elif kind == b"P":
            name, statement = content.split(b"\0")[:2]
            lane.prepared[name] = statement.decode()
        elif kind == b"B":
            portal, name = content.split(b"\0")[:2]
            lane.portals[portal] = lane.prepared.get(name, "")
        elif kind == b"E":
            self._run(lane, lane.portals.get(content.split(b"\0")[0], ""))

    def _run(self, lane: Lane, statement: str) -> None:
        word = statement.lstrip().upper()
        commits = False
        if word.startswith("BEGIN"):
            lane.in_transaction, lane.wrote = True, False
        elif word.startswith("COMMIT"):
            commits, lane.in_transaction = lane.wrote, False
        elif word.startswith("ROLLBACK") and not word.startswith("ROLLBACK TO"):
            lane.in_transaction = False
        elif WRITES.search(statement):
            lane.wrote, commits = True, not lane.in_transaction
        with self._lock:
            if commits and self._armed:
                self._armed, lane.losing = False, True


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
