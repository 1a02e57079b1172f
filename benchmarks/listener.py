"""Two ears as an idle cluster has them: connections that LISTEN and do nothing else. `python -m benchmarks.listener URL
CHANNEL` says that it is ready, listens until its input ends, and says how many notifications came."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

EARS = 2


@contextmanager
def listening(url: str, channel: str) -> Iterator[list[int]]:
    """While somebody listens. The list holds, at the end, how many notifications came."""
    came: list[int] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.listener", url, channel],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield came
        came.append(int(process.communicate(timeout=30)[0]))
    finally:
        process.kill()
        process.wait()


def main(url: str, channel: str) -> None:
    """Listen until the input ends."""
    ended = threading.Event()
    counts = [0] * EARS

    def listen(place: int) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"LISTEN {channel}")
            ready.release()
            while not ended.is_set():
                counts[place] += sum(1 for _ in connection.notifies(timeout=0.2))

    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=listen, args=(place,)) for place in range(EARS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    print("ready", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    print(sum(counts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
