"""`make run`: all of it starts, and all of it stops, whichever way."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.running import Running, free_port, running

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(600),  # whole servers start here, also on a machine that is busy with others
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc"),
]


def test_it_starts_with_its_examples_stops_on_ctrl_c_and_starts_again(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.wait_for_line(lambda line: "Submitted" in line)
        run.wait_for_line(lambda line: "DONE" in line and "T-3001" in line)
        run.wait_for_line(lambda line: "PEND" in line and "C-1001" in line and "verification" in line)
        assert len(run.processes()) >= 4, "the supervisor, the web server, the cluster, and its workers"
        run.press_ctrl_c()
        assert run.exit_code() == 0, run.output
        assert run.wait_until_gone() == {}
        assert run.lines[-1] == "Stopped. No process is left."

        again = Running(tmp_path, run.environment["DATABASE_URL"])
        try:
            again.wait_until_ready()
            assert "Submitted" not in again.output, "the same jobs a second time"
            assert "Loaded" not in again.output
            os.kill(min(pid for pid, command in again.processes().items() if "qcluster" in command), signal.SIGKILL)
            assert again.exit_code() == 1
            assert "The cluster ended by itself" in again.output
            assert again.wait_until_gone() == {}
        finally:
            again.close()


def test_two_runs_do_not_share_one_folder_and_a_killed_one_takes_everything_with_it(tmp_path: Path) -> None:
    with running(tmp_path, "--no-examples") as first:
        second = Running(tmp_path, "", "--no-examples")
        assert second.exit_code() == 1
        second.wait_for_line(lambda line: f"Another `make run` (process {first.process.pid})" in line)
        assert "VAR_DIR=" in second.output
        assert first.process.poll() is None

        first.process.kill()
        assert first.wait_until_gone() == {}


def test_a_port_in_use_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
        holder.listen()
        port = holder.getsockname()[1]
        run = Running(tmp_path, "", port=port)
        assert run.exit_code() == 1
        run.wait_for_line(lambda line: f"Port {port}" in line and f"PORT={port + 1} make run" in line)
        assert not (tmp_path / "workflow.sqlite3").exists()


def test_a_database_that_does_not_answer_is_said_in_the_end_of_its_error(tmp_path: Path) -> None:
    run = Running(tmp_path, f"postgres://nobody@127.0.0.1:{free_port()}/none", "--no-examples")
    assert run.exit_code() == 1
    run.wait_for_line(lambda line: "migrate" in line and "failed" in line)
    assert run.wait_until_gone() == {}
