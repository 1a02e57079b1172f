"""The departments' Django application: it stands on the engine, never the reverse."""

from django.apps import AppConfig


class DepartmentsConfig(AppConfig):
    """Departments, their members, what they are asked, and what they answered."""

    name = "departments"
    verbose_name = "Departments"

    def ready(self) -> None:
        from departments import archiving, explaining, invariants, parking, reporting

        archiving.register()
        explaining.register()
        invariants.register()
        parking.register()
        reporting.register()
