"""The `http` task against a real server, and against addresses that it must never reach."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from tests.execution.jobs import publish, submit
from workflows.engine.contract import Answer, Completed, Failed, StepContext
from workflows.engine.parsing import fragment, parse
from workflows.execution.http_guard import checked_address
from workflows.execution.http_step import run_http
from workflows.execution.timers import Timers
from workflows.execution.worker import drain
from workflows.models import History, Job, TaskRun


class Replies(BaseHTTPRequestHandler):
    """Does as the path says, and keeps what it was asked."""

    seen: ClassVar[list[dict[str, Any]]] = []
    failures: ClassVar[list[int]] = []
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        return

    def handle_all(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.seen.append({"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body})
        getattr(self, "at_" + self.path.strip("/").partition("?")[0].partition("/")[0])()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_all

    def reply(self, body: bytes = b"", kind: str = "application/json", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **own}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):  # who asked may have had enough
                self.wfile.write(body)

    def at_json(self) -> None:
        self.reply(b'{"total": 12.5, "lines": [1, null]}', X_Trace="t-1", Set_Cookie="session=1")

    def at_text(self) -> None:
        self.reply("Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1")

    def at_nothing(self) -> None:
        self.reply(status=204)

    def at_binary(self) -> None:
        self.reply(b"\x89PNG\r\n", "image/png")

    def at_lies(self) -> None:
        self.reply(b"{not json")

    def at_nan(self) -> None:
        self.reply(b'{"a": NaN}')

    def at_nul(self) -> None:
        self.reply(b'{"a": "\\u0000"}')

    def at_big(self) -> None:
        self.reply(b'"' + b"x" * 5_000_000 + b'"')

    def at_bomb(self) -> None:
        self.reply(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip")

    def at_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        for byte in gzip.compress(b'{"chunked": true}'):
            self.wfile.write(b"1\r\n" + bytes([byte]) + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def at_mangled(self) -> None:
        self.reply(b"no gzip", Content_Encoding="gzip")

    def at_cut(self) -> None:
        self.reply(b"{}", Content_Length="100")
        self.close_connection = True

    def at_confused(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = True

    def at_packed(self) -> None:
        self.reply(gzip.compress(b'{"packed": true}'), Content_Encoding="gzip")

    def at_missing(self) -> None:
        self.reply(b'{"why": "gone"}', status=404)

    def at_conflict(self) -> None:
        self.reply(b'{"known": true}', status=409)

    def at_fails(self) -> None:
        if self.failures:
            self.reply(b"busy", "text/plain", status=self.failures.pop(0), Retry_After="3")
        else:
            self.at_json()

    def at_inner(self) -> None:
        self.reply(status=302, Location="http://169.254.169.254/latest/meta-data/")

    def at_echo(self) -> None:
        said = {"authorization": self.headers.get("Authorization"), "path": self.path}
        self.reply(json.dumps(said).encode(), X_Echo=self.headers.get("Authorization") or "")

    def at_slow(self) -> None:
        time.sleep(1.5)
        self.at_json()

    def at_drips(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(40):
            try:
                self.wfile.write(b"x" * 25)
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    def at_hangs_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Replies)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def _allow_this_machine(settings):
    settings.WORKFLOW_HTTP_ALLOW = ["127.0.0.1"]
    Replies.seen.clear()
    Replies.failures.clear()


def ask(url: str, *, task: dict[str, Any] | None = None, **request: Any) -> Answer:
    spec = {"type": "http", "url": "http://example.org/", **(task or {})}
    definition = parse({"name": "asks", "tasks": {"call": spec}})
    context = StepContext(
        job_id="1",
        workflow="asks",
        version=1,
        task="call",
        iteration=1,
        attempt=1,
        input={"url": url, **request},
        now=timezone.now(),
        idempotency_key="1:call:1",
        fence=7,
    )
    return run_http(definition.tasks["call"], context)


def failed(answer: Answer) -> str:
    assert isinstance(answer, Failed), answer
    return answer.error


def output(answer: Answer) -> Any:
    assert isinstance(answer, Completed), answer
    return answer.output


# ---- requests and replies -------------------------------------------------------------------------------------------


def test_a_reply_becomes_status_headers_and_body(address):
    got = output(ask(f"{address}/json?a=1"))
    assert got["status"] == 200
    assert got["body"] == {"total": 12.5, "lines": [1, None]}
    assert got["headers"]["x-trace"] == "t-1"
    assert "set-cookie" not in got["headers"]
    [seen] = Replies.seen
    assert (seen["method"], seen["path"]) == ("GET", "/json?a=1")
    assert seen["headers"]["Host"] == address.removeprefix("http://")


def test_the_keys_that_make_a_repetition_harmless_are_always_sent(address):
    ask(f"{address}/json", method="POST", headers={"idempotency-key": "mine", "X-Own": "ä"}, body={"a": 1})
    [seen] = Replies.seen
    assert seen["headers"]["Idempotency-Key"] == "1:call:1"
    assert seen["headers"]["X-Fencing-Token"] == "7"
    assert "mine" not in seen["headers"].values()
    assert seen["headers"]["Content-Type"] == "application/json"
    assert seen["body"] == b'{"a":1}'


def test_a_text_body_is_sent_as_it_is(address):
    ask(f"{address}/json", method="PUT", headers={"Content-Type": "application/xml"}, body="<a>é</a>")
    [seen] = Replies.seen
    assert (seen["method"], seen["body"]) == ("PUT", "<a>é</a>".encode())
    assert seen["headers"]["Content-Type"] == "application/xml"


def test_texts_are_read_in_their_own_encoding_and_nothing_is_null(address):
    assert output(ask(f"{address}/text"))["body"] == "Grüße"
    assert output(ask(f"{address}/nothing"))["body"] is None
    assert output(ask(f"{address}/json", method="HEAD"))["body"] is None
    assert output(ask(f"{address}/packed"))["body"] == {"packed": True}
    assert output(ask(f"{address}/chunked"))["body"] == {"chunked": True}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("binary", "HttpError.Unreadable"),
        ("lies", "HttpError.Unreadable"),
        ("nan", "HttpError.Unreadable"),
        ("nul", "HttpError.Unreadable"),
        ("big", "HttpError.TooLarge"),
        ("bomb", "HttpError.TooLarge"),
        ("missing", "HttpError.404"),
        ("inner", "HttpError.302"),
        ("hangs_up", "HttpError.Network"),
        ("cut", "HttpError.Network"),
        ("confused", "HttpError.Network"),
        ("mangled", "HttpError.Unreadable"),
    ],
)
def test_what_cannot_be_kept_or_was_not_expected_is_an_error_by_name(address, path, error):
    assert failed(ask(f"{address}/{path}")) == error
    assert len(Replies.seen) == 1, "no redirect is followed, and nothing is sent twice"


def test_expected_codes_are_good_and_all_others_are_not(address):
    expecting = {"expect": [409]}
    assert output(ask(f"{address}/conflict", task=expecting))["body"] == {"known": True}
    assert failed(ask(f"{address}/json", task=expecting)) == "HttpError.200"


def test_the_cause_shows_what_the_service_said(address):
    answer = ask(f"{address}/missing")
    assert isinstance(answer, Failed)
    assert '"why": "gone"' in answer.cause


def test_a_service_that_is_too_slow_is_a_timeout(address, monkeypatch):
    monkeypatch.setattr("workflows.execution.http_step.READ_SECONDS", 0.3)
    assert failed(ask(f"{address}/slow")) == "HttpError.Timeout"
    monkeypatch.setattr("workflows.execution.http_step.TOTAL_SECONDS", 0.5)
    assert failed(ask(f"{address}/drips")) == "HttpError.Timeout"


def test_nobody_at_the_other_end_is_a_network_fault():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert failed(ask(f"http://127.0.0.1:{port}/")) == "HttpError.Network"
    assert failed(ask("http://no-such-host.invalid/")) == "HttpError.Network"


@pytest.mark.parametrize("given", [None, [], {"url": 5}, {"url": "http://127.0.0.1/", "headers": [1]}])
def test_an_edited_request_of_the_wrong_shape_is_refused_by_name(given):
    definition = parse({"name": "asks", "tasks": {"call": {"type": "http", "url": "http://example.org/"}}})
    context = StepContext("1", "asks", 1, "call", 1, 1, given, timezone.now())
    assert failed(run_http(definition.tasks["call"], context)) == "ValidationError"


def test_a_header_cannot_smuggle_another_in(address):
    assert failed(ask(f"{address}/json", headers={"X-A": "1\r\nX-B: 2"})) == "ValidationError"
    assert not Replies.seen


# ---- where it may go ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://168.63.129.16/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://192.168.1.1/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://user:password@example.org/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http:///nothing",
        "//example.org/",
        "http://example.org:99999/",
    ],
)
def test_no_address_inside_is_ever_called(url, settings):
    settings.WORKFLOW_HTTP_ALLOW = []
    assert failed(ask(url)) == "HttpError.Refused"


def resolves_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let the resolver give these answers, one after the other; what it was asked is kept."""
    asked: list[str] = []
    waiting = list(answers)

    def resolve(host: str, port: int, *args: Any, **named: Any) -> Any:
        asked.append(host)
        named_here = [] if host[0].isdigit() else waiting.pop(0) if len(waiting) > 1 else waiting[0]
        found = named_here or [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr("workflows.execution.http_guard.socket.getaddrinfo", resolve)
    return asked


def test_a_name_that_leads_inside_is_refused_also_where_it_leads_outside_too(settings, monkeypatch):
    settings.WORKFLOW_HTTP_ALLOW = []
    resolves_to(monkeypatch, ["93.184.216.34", "10.0.0.7"])
    assert failed(ask("http://innocent.example/")) == "HttpError.Refused"


def test_a_name_is_resolved_once_and_the_checked_address_is_called(settings, monkeypatch, address):
    port = address.rpartition(":")[2]
    settings.WORKFLOW_HTTP_ALLOW = [f"crm.example:{port}"]
    asked = resolves_to(monkeypatch, ["127.0.0.1"], ["10.66.66.66"])
    assert output(ask(f"http://crm.example:{port}/json"))["status"] == 200
    assert asked == ["crm.example", "127.0.0.1"], "a name server that answers otherwise the next time is not asked"
    assert Replies.seen[0]["headers"]["Host"] == f"crm.example:{port}"


@pytest.mark.parametrize(
    ("allowed", "host", "addresses", "fits"),
    [
        ("10.2.0.0/16", "a.example", ["10.2.3.4"], True),
        ("10.2.0.0/16", "a.example", ["10.3.0.1"], False),
        ("10.2.0.0/16", "a.example", ["10.2.3.4", "8.8.8.8"], True),
        ("*.inner.example", "crm.inner.example", ["192.168.0.9"], True),
        ("*.inner.example", "CRM.Inner.Example", ["192.168.0.9"], True),
        ("*.inner.example", "inner.example.evil.org", ["192.168.0.9"], False),
        ("*.inner.example", "crm.inner.example", ["169.254.169.254"], False),
        ("crm:8080", "crm", ["10.0.0.1"], False),
        ("crm:80", "crm", ["10.0.0.1"], True),
        ("[::1]:80", "x.example", ["::1"], True),
        ("::1", "x.example", ["::1"], True),
        ("none", "www.example", ["8.8.8.8"], True),
        ("none", "www.example", ["168.63.129.16"], False),
    ],
)
def test_inner_services_are_allowed_by_name_network_and_port(settings, monkeypatch, allowed, host, addresses, fits):
    settings.WORKFLOW_HTTP_ALLOW = [allowed]
    resolves_to(monkeypatch, addresses)
    if fits:
        assert str(checked_address(host, 80)) == addresses[0]
    else:
        assert failed(ask(f"http://{host}/")) == "HttpError.Refused"


def test_no_proxy_or_password_is_taken_from_the_surroundings(address, monkeypatch, tmp_path):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(netrc))
    assert output(ask(f"{address}/echo"))["body"]["authorization"] is None


# ---- secrets --------------------------------------------------------------------------------------------------------


def test_secrets_go_out_and_never_come_back(address, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("WORKFLOW_SECRET_CRM_TOKEN", "s3cr3t/+ä")
    got = output(
        ask(f"{address}/echo?key=secret://crm-token&a=b", headers={"Authorization": "Bearer secret://crm-token"})
    )
    [seen] = Replies.seen
    assert seen["headers"]["Authorization"].encode("latin-1").decode() == "Bearer s3cr3t/+ä"
    assert seen["path"] == "/echo?key=s3cr3t%2F%2B%C3%A4&a=b"
    assert got["body"]["path"] == "/echo?key=secret://crm-token&a=b"
    assert "s3cr3t" not in json.dumps(got["headers"])
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("workflows")]
    assert not [line for line in ours if "s3cr3t" in line]


def test_a_secret_may_lie_in_a_file_and_a_missing_one_is_an_error_by_name(address, monkeypatch, tmp_path):
    path = tmp_path / "token"
    path.write_text("from-file\n")
    monkeypatch.setenv("WORKFLOW_SECRET_T_FILE", str(path))
    ask(f"{address}/echo", headers={"Authorization": "secret://t"})
    assert Replies.seen[0]["headers"]["Authorization"] == "from-file"
    answer = ask(f"{address}/echo", headers={"Authorization": "secret://nobody"})
    assert failed(answer) == "SecretNotFound"
    assert "WORKFLOW_SECRET_NOBODY" in answer.cause  # type: ignore[union-attr]


def test_an_error_tells_no_secret(monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRET_KEY", "hush-hush")
    answer = ask("http://127.0.0.1:9/?key=secret://key")
    assert failed(answer) == "HttpError.Network"
    assert "hush" not in str(answer)


# ---- in a job -------------------------------------------------------------------------------------------------------


def calls(url: str, **task: Any) -> Job:
    return submit(publish({"name": "calls", "tasks": {"call": {"type": "http", "url": url, **task}}}))


def pass_time(job: Job) -> None:
    """Let the job's next timer be due now."""
    state = Job.objects.select_related("data").get(pk=job.pk).data
    past = timezone.now() - timedelta(seconds=1)
    state.state["tasks"]["call"]["wake_at"] = past.isoformat()
    state.save(update_fields=["state"])
    assert Job.objects.filter(pk=job.pk, wake_at__isnull=False).update(wake_at=past)
    Timers().run_once()


@pytest.mark.django_db(transaction=True)
def test_a_service_that_is_busy_is_asked_again_until_it_answers(address, monkeypatch):
    monkeypatch.setenv("WORKFLOW_SECRET_KEY", "hush-hush")
    Replies.failures[:] = [503, 429]
    job = calls(f"{address}/fails", headers={"Authorization": "secret://key"})
    for _ in range(3):
        drain()
        if Job.objects.get(pk=job.pk).status == "PEND":
            pass_time(job)
    job = Job.objects.select_related("data").get(pk=job.pk)
    assert job.status == "DONE"
    assert job.data.output["body"]["total"] == 12.5
    runs = TaskRun.objects.filter(job=job).order_by("attempt")
    assert [run.error for run in runs] == ["HttpError.503", "HttpError.429", None]
    assert len({seen["headers"]["Idempotency-Key"] for seen in Replies.seen}) == 1
    kept = json.dumps([run.input for run in runs]) + json.dumps(job.data.state)
    kept += "".join(str(row.data) + str(row.decided) for row in History.objects.filter(job=job))
    assert "hush" not in kept
    assert "secret://key" in kept


@pytest.mark.django_db(transaction=True)
def test_an_unexpected_status_is_not_tried_again_and_can_be_caught(address):
    document = {
        "name": "caught",
        "tasks": {
            "call": {"type": "http", "url": f"{address}/missing"},
            "none": {"type": "pass", "input": {"because": "${tasks.call.error.name}"}},
        },
        "transitions": [{"from": "call", "to": "none", "on_error": ["HttpError.404"]}],
    }
    job = submit(publish(document))
    drain()
    assert Job.objects.select_related("data").get(pk=job.pk).data.output == {"because": "HttpError.404"}
    assert len(Replies.seen) == 1


def test_without_a_retry_of_its_own_a_task_retries_what_passes_by_itself_five_times():
    def retriers(**task: Any) -> Any:
        spec = {"type": "http", "url": "http://example.org/", **task}
        return parse({"name": "asks", "tasks": {"call": spec}})

    [policy] = retriers().tasks["call"].retry
    assert policy.max_attempts == 5
    for passing in ("HttpError.503", "HttpError.500", "HttpError.429", "HttpError.Network", "HttpError.Timeout"):
        assert policy.matches(passing)
    for lasting in ("HttpError.404", "HttpError.Refused", "HttpError.TooLarge", "SecretNotFound", "ValidationError"):
        assert not policy.matches(lasting)
    assert retriers(retry=[]).tasks["call"].retry == ()
    elsewhere = retriers(queue="partners")
    assert elsewhere.tasks["call"].retry == (policy,)
    assert fragment(elsewhere, "call").tasks["call"].retry == (), "its parent tries it again"
