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
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc"),
]


def test_it_submits_the_examples_shows_what_happens_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.wait_for_line(lambda line: "DONE" in line and "T-3001" in line)
        run.wait_for_line(lambda line: "PEND" in line and "C-1001" in line and "verification" in line)
        assert len(run.processes()) >= 4, "the supervisor, the web server, the cluster, and its workers"

        run.press_ctrl_c()

        assert run.exit_code() == 0, run.output
        assert run.lines[-1] == "Stopped. No process is left."
        assert run.wait_until_gone() == {}


def test_a_second_run_finds_everything_there_and_submits_nothing_twice(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        first.wait_for_line(lambda line: "Submitted" in line)
        first.press_ctrl_c()
        assert first.exit_code() == 0
        second = Running(tmp_path, first.environment["DATABASE_URL"])
        try:
            second.wait_until_ready()
            assert "Submitted" not in second.output
            assert "Loaded" not in second.output
        finally:
            second.close()


def test_a_killed_supervisor_takes_everything_with_it(tmp_path: Path) -> None:
    with running(tmp_path, "--no-examples") as run:
        run.process.kill()
        assert run.wait_until_gone() == {}


@pytest.mark.parametrize("who", ["gunicorn", "qcluster"])
def test_a_part_that_ends_by_itself_is_reported_and_the_rest_is_stopped(tmp_path: Path, who: str) -> None:
    with running(tmp_path, "--no-examples") as run:
        os.kill(min(pid for pid, command in run.processes().items() if who in command), signal.SIGKILL)
        assert run.exit_code() == 1
        assert "ended by itself" in run.output
        assert run.wait_until_gone() == {}


def test_two_runs_do_not_share_one_folder(tmp_path: Path) -> None:
    with running(tmp_path, "--no-examples") as first:
        second = Running(tmp_path, "", "--no-examples")
        assert second.exit_code() == 1
        second.wait_for_line(lambda line: f"Another `make run` (process {first.process.pid})" in line)
        assert "VAR_DIR=" in second.output
        assert first.process.poll() is None


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
