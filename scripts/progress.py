"""What happens on the server, as short lines: a job appears, or its status changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from api import Api, ApiError

SHOWN = 50


class Progress:
    """Looks at the newest jobs, and says what is new about them."""

    def __init__(self, api: Api, say: Callable[[str], None]) -> None:
        self._api, self._say = api, say
        self._seen: dict[str, tuple[str, str]] = {}

    def show(self) -> None:
        """One look. A server that does not answer just now is asked again the next time."""
        try:
            for job in reversed(self._api.get("/api/v1/jobs/", page_size=str(SHOWN))["results"]):
                stands = (job["status"], job["outcome"])
                if self._seen.get(job["id"]) != stands:
                    self._say(line(self._api.get(f"/api/v1/jobs/{job['id']}/")))
                self._seen[job["id"]] = stands
        except (ApiError, OSError):
            return


def line(job: dict[str, Any]) -> str:
    """One job in one line: when, how it stands, what it is, what it waits for."""
    name = job["correlation_id"] or job["id"]
    text = f"{time.strftime('%H:%M:%S')}  {job['status']:5} {job['workflow']:18} {name}"
    waits = ", ".join(waiting["department"] or waiting["task"] for waiting in job["waiting_for"])
    error = (job["error"] or {}).get("name", "")
    return text + (f"  waits for {waits}" if waits else "") + (f"  {error}" if error else "")
