"""A handful of example jobs, sent as an upstream system would: documents first, then jobs, over REST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from api import Api

FILES = Path(__file__).resolve().parent.parent / "docs" / "examples"
MEDIA_TYPES = {".png": "image/png", ".pdf": "application/pdf"}


@dataclass(frozen=True)
class Example:
    """One job to submit. `documents` are files of docs/examples."""

    reference: str
    workflow: str
    input: dict[str, Any]
    documents: tuple[str, ...] = ()


def missing_examples(api: Api) -> list[Example]:
    """The examples that were not submitted to this server yet."""
    return [example for example in examples(datetime.now(UTC)) if not is_there(api, example)]


def is_there(api: Api, example: Example) -> bool:
    found = api.get("/api/v1/jobs/", correlation_id=example.reference, workflow=example.workflow)
    return bool(found["results"])


def submit_all(api: Api, chosen: Sequence[Example]) -> None:
    """Submit them in this order."""
    for example in chosen:
        submit(api, example)


def submit(api: Api, example: Example) -> None:
    """Upload the documents of an example, and submit it with them."""
    documents = []
    for name in example.documents:
        path = FILES / name
        uploaded = api.upload("/api/v1/documents/", name, MEDIA_TYPES[path.suffix], path.read_bytes())
        documents.append(uploaded["id"])
    body: dict[str, Any] = {
        "workflow": example.workflow,
        "input": example.input,
        "correlation_id": example.reference,
    }
    if documents:
        body["documents"] = documents
    api.post("/api/v1/jobs/", body)


def examples(now: datetime) -> Sequence[Example]:
    """What is submitted: jobs that stop at different departments, one that waits, one that ends at once."""
    return (
        claim(now, "C-1001", "Water stain on the ceiling", 480.5, ("damage.png", "estimate.pdf")),
        claim(now, "C-1002", "Broken window after the storm", 310, ("damage.png",)),
        claim(now, "C-1003", "Stolen bicycle", 25_000, ("estimate.pdf",)),
        claim(now, "C-1004", "The policy number is missing here", 120, ("damage.png",), policy_no=""),
        order("R-2001", {"sku": "DESK-120", "quantity": 1, "unit_price": 240}),
        order("R-2002", {"sku": "LAMP-7", "quantity": 4, "unit_price": 19.9}),
        order("R-2003", {"sku": "CHAIR-3", "quantity": 2, "unit_price": 85}, ship_after=now + timedelta(days=2)),
        Example("T-3001", "transform.fields", {"reference": "T-3001", "customer": {"name": "North Street 5"}}),
    )


def claim(
    now: datetime, number: str, what: str, amount: float, documents: tuple[str, ...], policy_no: str = "HH-204817"
) -> Example:
    facts = {
        "claim_no": number,
        "policy_no": policy_no,
        "claimant": {"name": "Household 204817", "email": "claimant@example.org"},
        "incident_date": (now - timedelta(days=12)).date().isoformat(),
        "amount": amount,
        "description": what,
    }
    return Example(number, "insurance_claim", facts, documents)


def order(reference: str, line: dict[str, Any], ship_after: datetime | None = None) -> Example:
    facts: dict[str, Any] = {
        "reference": reference,
        "customer": {"name": "North Street Office", "address": "5 North Street, 1010 Example"},
        "lines": [line],
    }
    if ship_after is not None:
        facts["ship_after"] = ship_after.isoformat(timespec="seconds")
    return Example(reference, "order_processing", facts)
