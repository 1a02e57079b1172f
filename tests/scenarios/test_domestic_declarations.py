"""The real office: an extract of its log, with every variant, worked through the API and compared with the export.

The whole log is replayed with real processes by `make real-log LOG=path`.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient

from tests.reporting.xes_rules import faults_of
from tests.scenarios.domestic_declarations import model
from tests.scenarios.domestic_declarations.model import Trace, compare, read_export, read_log
from tests.scenarios.domestic_declarations.replay import ApiError, Diverged, Replay
from workflows.execution.worker import drain
from workflows.models import ApiToken, Job, JobStatus


class InProcess:
    """A user of the API with a token, without a server in between."""

    def __init__(self, username: str, **fields: Any) -> None:
        self.user = get_user_model().objects.create_user(username, **fields)
        _, token = ApiToken.objects.create(user=self.user)
        self.client = APIClient(headers={"Authorization": f"Bearer {token}"})

    def get(self, path: str) -> Any:
        parts = urlsplit(path)
        return self._read(self.client.get(f"{parts.path}?{parts.query}"), path)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        return self._read(self.client.post(path, body, format="json", headers=headers or {}), path)

    @staticmethod
    def _read(response: Any, path: str) -> Any:
        if response.status_code >= 300:
            raise ApiError(f"{path}: {response.status_code} {response.content.decode()}")
        return json.loads(response.content)


@pytest.fixture
def office(transactional_db: None) -> dict[str, InProcess]:
    """The departments with a member each, set up over the API as an administrator would; and who sends cases in."""
    admin = InProcess("administrator", is_superuser=True)
    people = {task: InProcess(f"member-of-{code}") for task, code in model.DEPARTMENTS.items()}
    for task, code in model.DEPARTMENTS.items():
        members = [{"username": people[task].user.username, "role": "member"}]
        admin.post("/api/v1/departments/", {"code": code, "name": code.replace("-", " ").title(), "members": members})
    admin.post("/api/v1/definitions/", model.DEFINITION)
    return {**people, "submitter": InProcess("submitter")}


def replayed(traces: list[Trace], office: dict[str, InProcess]) -> Replay:
    """The traces, worked through to where the log leaves them."""
    clients = {task: office[task] for task in model.DEPARTMENTS}
    replay = Replay(traces, office["submitter"], clients)
    replay.submit()
    drain()
    while replay.round():
        drain()
    return replay


def export(office: dict[str, InProcess]) -> bytes:
    """The history as the submitter gets it."""
    response = office["submitter"].client.get("/api/v1/reports/history.xes", {"workflow": model.WORKFLOW})
    return b"".join(response.streaming_content)


@pytest.mark.timeout(300)
def test_every_variant_of_the_real_log_comes_out_as_it_went_in(office: dict[str, InProcess]) -> None:
    traces = read_log(model.EXTRACT)
    assert len({trace.activities for trace in traces}) == 90
    replay = replayed(traces, office)
    assert replay.complete
    content = export(office)
    assert faults_of(content) == []
    result = compare(traces, read_export(io.BytesIO(content)))
    assert result.differences == []
    assert (result.matching_cases, result.matching_variants) == (len(traces), 90)
    paid = sum(model.ends_paid(trace.activities) for trace in traces)
    assert Counter(Job.objects.values_list("status", flat=True)) == {
        JobStatus.DONE: paid,
        JobStatus.PEND: len(traces) - paid,
    }


def test_the_export_names_the_people_and_departments_that_decided(office: dict[str, InProcess]) -> None:
    trace = read_log(model.EXTRACT)[0]
    replayed([trace], office)
    element = next(model.traces_of(io.BytesIO(export(office))))
    found = [(event["org:group"], event["org:resource"]) for event in model.events_of(element)]
    codes = [model.DEPARTMENTS[answer.task] for answer in model.answers(trace.activities)]
    assert found == [(code, f"member-of-{code}") for code in codes]


def test_a_department_that_is_asked_out_of_turn_ends_the_replay(office: dict[str, InProcess]) -> None:
    trace = read_log(model.EXTRACT)[0]
    replay = Replay([trace], office["submitter"], {task: office[task] for task in model.DEPARTMENTS})
    replay.submit()
    drain()
    (case,) = replay.cases.values()
    case.answers = case.answers[::-1]
    with pytest.raises(Diverged, match="employee is asked"):
        replay.round()


def test_the_comparison_tells_a_missing_case_a_changed_one_and_one_too_many() -> None:
    traces = [Trace("a", ("x", "y")), Trace("b", ("x",)), Trace("c", ("z",))]
    exported = [Trace("a", ("y", "x")), Trace("b", ("x",)), Trace("b", ("x",))]
    result = compare(traces, exported)
    told = "\n".join(result.differences)
    assert not result.equal
    assert (result.cases, result.matching_cases, result.variants, result.matching_variants) == (3, 1, 3, 0)
    for part in ("b: exported 2 times", "export: y > x", "export: missing", "1 times in the log, 2 exported: x"):
        assert part in told


def test_every_activity_of_the_log_is_an_answer_that_the_definition_knows() -> None:
    for activity, (task, outcome) in model.ACTIVITIES.items():
        document = model.DEFINITION["tasks"][task]
        assert outcome in document.get("outcomes", [outcome])
        assert model.EXPORTED[document["title"], outcome] == activity
