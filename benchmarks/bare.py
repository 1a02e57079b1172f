"""What submissions are compared with: one row as wide as a job's, with the index that a queue cannot do without,
written by a bare INSERT, and a bare Django view that does the same.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.urls import path

if TYPE_CHECKING:
    from django.http import HttpRequest, JsonResponse

TABLE = """
CREATE TABLE IF NOT EXISTS bare_request (
    id uuid PRIMARY KEY, workflow varchar(100) NOT NULL, version integer NOT NULL, status varchar(5) NOT NULL,
    priority smallint NOT NULL, queue varchar(50) NOT NULL, run_at timestamptz NOT NULL, rank timestamptz NOT NULL,
    correlation_id varchar(200) NOT NULL, created_at timestamptz NOT NULL, input jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS bare_request_claim ON bare_request (queue, rank, id) WHERE status IN ('NEW', 'READY');
"""
INSERT = "INSERT INTO bare_request VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


def insert(given: Any) -> uuid.UUID:
    """One row, one statement, one commit, on Django's own connection in autocommit; the row's id."""
    from django.db import connection

    from workflows.models import uuid7

    key = uuid7()
    now = datetime.now(UTC)
    row: list[Any] = [key, "bench", 1, "NEW", 50, "default", now, now, "", now, json.dumps(given)]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, row)
    return key


def view(request: HttpRequest) -> JsonResponse:
    """Capture one request: a POST with a JSON body."""
    from django.http import JsonResponse

    return JsonResponse({"id": str(insert(json.loads(request.body)["input"]))}, status=201)


view.csrf_exempt = True  # type: ignore[attr-defined]

urlpatterns = [path("requests/", view)]
