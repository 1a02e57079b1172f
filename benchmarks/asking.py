"""The workflow whose jobs ask a department and go on with one step that does nothing."""

from __future__ import annotations

from typing import Any

DEPARTMENT = "bench"
QUESTION: dict[str, Any] = {
    "name": "bench-question",
    "tasks": {
        "decide": {"type": "human", "department": DEPARTMENT, "title": "Decide"},
        "go-on": {"type": "plugin", "plugin": "bench.nothing"},
    },
    "transitions": [{"from": "decide", "to": "go-on"}],
}
