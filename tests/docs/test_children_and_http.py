"""The definitions of docs/children-and-http.md do what the page says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.running import ROOT
from workflows.engine.contract import Answer, Completed
from workflows.execution import steps
from workflows.execution.worker import drain
from workflows.intake import publishing
from workflows.intake.submit import Submission, submit_job
from workflows.models import Job

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (ROOT / "docs" / "children-and-http.md").read_text(encoding="utf-8")
DOCUMENTS = {text["name"]: text for text in map(json.loads, re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))}


def run(name: str, given: Any) -> Any:
    for document in DOCUMENTS.values():
        publishing.publish(document)
    job = submit_job(Submission(name, given), submitted_by=None).job
    drain()
    done = Job.objects.select_related("data").get(pk=job.pk)
    assert done.status == "DONE", done.data.error
    return done.data.output


def test_the_price_list_has_its_lines_in_order() -> None:
    articles = [{"name": "pen", "net": 2.0}, {"name": "ink", "net": 5.0}]
    output = run("price-list", {"articles": articles, "factor": 1.5})
    assert output == {"lines": 2, "first": {"article": "pen", "gross": 3.0, "line": 1}}


@pytest.mark.parametrize(("amount", "output"), [(5000, {"because": "It is 5000."}), (10, {"amount": 10})])
def test_the_child_workflow_decides_where_its_parent_goes(amount: int, output: Any) -> None:
    assert run("two-checks", {"amount": amount}) == output


def test_the_service_is_asked_with_the_request_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def reply(task: Any, context: Any) -> Answer:
        asked.append(context.input)
        return Completed({"status": 200, "headers": {}, "body": {"quote": 7}})

    monkeypatch.setattr(steps, "run_http", reply)
    assert run("ask-a-service", {"service": "https://quotes.example", "amount": 3}) == {"quote": 7}
    assert asked == [
        {
            "method": "POST",
            "url": "https://quotes.example/quotes?currency=EUR",
            "headers": {"Authorization": "Bearer secret://quotes"},
            "body": {"amount": 3},
        }
    ]
