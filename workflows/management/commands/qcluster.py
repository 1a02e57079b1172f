"""`manage.py qcluster`: a cluster, until it is told to stop."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from workflows.execution.cluster import run_cluster


class Command(BaseCommand):
    """In the place of django-q2's command of this name, which ends with code 0 when its sentinel is killed."""

    help = (
        "Run a cluster of workers until it is told to stop (SIGTERM, Ctrl-C). Q_CLUSTER_NAME names its queue. "
        "It ends with another code than 0 where it can do no more work; start another one then."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(run_cluster())
