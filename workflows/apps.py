"""The engine's Django application."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class WorkflowsConfig(AppConfig):
    """Jobs, definitions, plugins, history: everything that concerns no particular department."""

    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        from workflows import checks  # noqa: F401  (registers the system checks)
        from workflows.execution.services import register_service
        from workflows.groups import make_groups
        from workflows.intake.events import EventHandler, handle_event
        from workflows.intake.scheduler import Scheduler
        from workflows.messaging.inbox import register_handler
        from workflows.operations.bulk import BulkRepairs, ForgottenPreviews
        from workflows.operations.stranded import Stranded
        from workflows.operations.waits import WaitStatistics

        register_handler(handle_event)
        register_service(EventHandler())
        register_service(Scheduler())
        register_service(BulkRepairs())
        register_service(ForgottenPreviews(), once=True)
        register_service(Stranded(), once=True)
        register_service(WaitStatistics(), once=True)
        # Sent for every application: the departments' permissions are there only after theirs.
        post_migrate.connect(make_groups, dispatch_uid="workflows.groups")
