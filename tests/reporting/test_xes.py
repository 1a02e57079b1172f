"""The history as an event log: valid by the standard, and read back by readers that share nothing with the writer."""

from __future__ import annotations

import gzip
import io
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from opyenxes.data_in.XUniversalParser import XUniversalParser

from tests.reporting.makers import START, make_definition, make_job, make_run
from tests.reporting.xes_rules import faults_of
from workflows.models import Job, TaskRunStatus
from workflows.reporting.xes import CHUNK_JOBS, gzipped, stream_xes
from workflows.reporting.xmltext import attribute

pytestmark = pytest.mark.django_db


def exported(jobs: Any = None) -> bytes:
    """The log of all jobs, or of these."""
    return b"".join(stream_xes(Job.objects.all() if jobs is None else jobs, name="everything", as_of=START))


def read_back(content: bytes, tmp_path: Any) -> Any:
    """The log as OpenXES sees it."""
    path = tmp_path / "history.xes"
    path.write_bytes(content)
    with path.open(encoding="utf-8") as file:
        return XUniversalParser().parse(file)[0]


def values(component: Any) -> dict[str, Any]:
    """Key to value of a trace or event that OpenXES has read."""
    return {key: found.get_value() for key, found in component.get_attributes().items()}


def names(content: bytes) -> list[list[str]]:
    """`concept:name` of the events of each trace, by lxml."""
    log = etree.fromstring(content)
    return [
        [event.xpath("*[@key='concept:name']/@value")[0] for event in trace.iterchildren("{*}event")]
        for trace in log.iterchildren("{*}trace")
    ]


def a_decided_claim() -> Job:
    make_definition("claim", 1, {"validate": None, "verify": "Verify the claim", "pay": "Pay ${input.amount}"})
    job = make_job(status="DONE", correlation_id="CLM-1")
    make_run(job, "validate", 2)
    make_run(job, "verify", 5, actor="verifier", department="verification", outcome="approve")
    make_run(job, "pay", 7)
    return job


def test_the_log_is_valid_by_the_standard() -> None:
    a_decided_claim()
    make_job(workflow="unknown", version=0)
    assert faults_of(exported()) == []


def test_the_empty_log_is_valid_too() -> None:
    content = exported()
    assert faults_of(content) == []
    assert names(content) == []


def test_an_independent_reader_gets_back_the_traces_events_and_all_they_say(tmp_path: Any) -> None:
    job = a_decided_claim()
    log = read_back(exported(), tmp_path)
    assert len(log) == 1
    trace = values(log[0])
    assert trace == {
        "concept:name": "CLM-1",
        "identity:id": trace["identity:id"],
        "workflow": "claim",
        "version": 1,
        "status": "DONE",
    }
    assert uuid.UUID(str(trace["identity:id"])) == job.id
    verify = values(log[0][1])
    moment = verify.pop("time:timestamp")
    assert moment.astimezone(UTC) == START + timedelta(minutes=5)
    assert verify == {
        "concept:name": "Verify the claim",
        "lifecycle:transition": "complete",
        "org:resource": "verifier",
        "org:group": "verification",
        "outcome": "approve",
        "task": "verify",
        "iteration": 1,
    }


def test_the_independent_reader_finds_the_extensions_globals_and_classifiers(tmp_path: Any) -> None:
    log = read_back(exported(), tmp_path)
    assert {extension.get_prefix() for extension in log.get_extensions()} >= {"concept", "lifecycle", "time", "org"}
    assert [found.get_key() for found in log.get_global_event_attributes()][:3] == [
        "concept:name",
        "lifecycle:transition",
        "time:timestamp",
    ]
    assert [classifier.name() for classifier in log.get_classifiers()] == ["Activity", "Task"]


def test_an_event_is_named_by_the_title_or_the_task_where_the_title_is_missing_or_holds_an_expression() -> None:
    a_decided_claim()
    assert names(exported()) == [["validate", "Verify the claim", "pay"]]


def test_each_version_names_its_events_by_its_own_titles() -> None:
    make_definition("claim", 1, {"verify": "Verify"})
    make_definition("claim", 2, {"verify": "Check the claim"})
    for version in (1, 2):
        make_run(make_job(version=version), "verify", 2)
    assert names(exported()) == [["Verify"], ["Check the claim"]]


def test_a_job_without_correlation_id_is_named_by_its_id() -> None:
    job = make_job()
    assert f'<string key="concept:name" value="{job.id}"/>'.encode() in exported()


def test_a_job_without_events_still_gives_a_trace_between_others_that_have_some() -> None:
    for number in range(5):
        job = make_job()
        if number in (1, 3):
            make_run(job, f"task{number}", 2)
    assert names(exported()) == [[], ["task1"], [], ["task3"], []]


def test_events_come_in_the_order_in_which_they_were_committed() -> None:
    job = make_job()
    make_run(job, "late", 9, finished_at=START)
    make_run(job, "early", 3, finished_at=START + timedelta(days=1))
    make_run(job, "early", 11, iteration=2)
    assert names(exported()) == [["early", "late", "early"]]


def test_an_event_says_nothing_of_a_person_a_department_or_an_outcome_where_there_was_none(tmp_path: Any) -> None:
    make_run(make_job(), "validate", 2)
    event = values(read_back(exported(), tmp_path)[0][0])
    assert set(event) == {"concept:name", "lifecycle:transition", "time:timestamp", "task", "iteration"}


def test_only_finished_runs_are_events() -> None:
    job = make_job()
    for number, status in enumerate(TaskRunStatus.values):
        make_run(job, status, number + 1, status=status)
    assert names(exported()) == [["done"]]


def test_more_jobs_than_a_chunk_are_all_there_once_and_in_order() -> None:
    jobs = Job.objects.bulk_create(
        [Job(workflow="bulk", version=0, correlation_id=f"B{number:05}") for number in range(CHUNK_JOBS * 2 + 1)]
    )
    log = etree.fromstring(exported())
    found = [trace.xpath("*[@key='concept:name']/@value")[0] for trace in log.iterchildren("{*}trace")]
    assert found == [job.correlation_id for job in jobs]


def test_the_number_of_queries_is_that_of_the_chunks_and_versions_not_of_the_jobs(
    django_assert_num_queries: Any,
) -> None:
    for version in (1, 2):
        make_definition("claim", version, {"verify": "Verify"})
    for number in range(20):
        make_run(make_job(version=1 + number % 2), "verify", 2)
    # The chunk of jobs, its definitions, its runs, and the empty chunk that ends it.
    with django_assert_num_queries(4):
        assert len(names(exported())) == 20


HOSTILE = [
    '"><event/>',
    "]]>",
    "<!-- -->",
    "&amp;&lt;",
    "a\tb\nc\rd",
    " lead and trail ",
    "\u2028",
    "\U0001d518nicode",
    "'",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_looks_like_markup_comes_back_as_it_was(text: str, tmp_path: Any) -> None:
    make_run(make_job(correlation_id=text), "verify", 2, outcome=text, actor=text)
    content = exported()
    assert faults_of(content) == []
    event = values(read_back(content, tmp_path)[0][0])
    assert (event["outcome"], event["org:resource"]) == (text, text)
    assert b"characters_replaced" not in content


def test_characters_that_xml_cannot_hold_are_replaced_and_the_event_says_so(tmp_path: Any) -> None:
    job = make_job()
    make_run(job, "plain", 2, outcome="fine")
    make_run(job, "odd", 3, outcome="bell\x07 and \ufffe")
    content = exported()
    assert faults_of(content) == []
    plain, odd = read_back(content, tmp_path)[0]
    assert values(odd)["outcome"] == "bell\ufffd and \ufffd"
    assert values(odd)["characters_replaced"] is True
    assert "characters_replaced" not in values(plain)


@given(st.text(alphabet=st.characters()))
def test_any_text_makes_a_well_formed_attribute_and_differs_only_where_it_says_so(text: str) -> None:
    escaped, replaced = attribute(text)
    back = etree.fromstring(f'<a b="{escaped}"/>').get("b")
    assert replaced == (back != text)
    assert len(back) == len(text)


def test_the_rules_of_the_tests_refuse_a_log_that_breaks_the_standard() -> None:
    a_decided_claim()
    good = exported()
    for wanted, replacement in [
        (b'<date key="time:timestamp" value="2026-11-21T09:35:00.250+00:00"/>', b""),
        (b"09:35:00.250+00:00", b"09:35:00.250"),
        (b'keys="concept:name"', b'keys="outcome"'),
        (b'prefix="org"', b'prefix="orga"'),
        (b'value="complete"/><date', b'value="finished"/><date'),
        (b"<event>", b"<incident>"),
    ]:
        assert wanted in good
        broken = good.replace(wanted, replacement).replace(
            b"</event>", b"</incident>" * (replacement == b"<incident>") or b"</event>"
        )
        assert faults_of(broken) != [], wanted


def test_the_gzipped_log_is_the_same_log() -> None:
    a_decided_claim()
    pieces = list(stream_xes(Job.objects.all(), name="x", as_of=START))
    assert gzip.GzipFile(fileobj=io.BytesIO(b"".join(gzipped(pieces)))).read() == b"".join(pieces)


def test_a_time_is_written_in_utc_whatever_its_zone() -> None:
    job = make_job()
    zoned = datetime.fromisoformat("2026-03-29T03:30:00.123456+02:00")
    make_run(job, "verify", 2, finished_at=zoned)
    assert b'value="2026-03-29T01:30:00.123+00:00"' in exported()
