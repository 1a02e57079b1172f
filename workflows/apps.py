"""The engine's Django application."""

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    """Jobs, definitions, plugins, history: everything that concerns no particular department."""

    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        from workflows import checks  # noqa: F401  (registers the system checks)
