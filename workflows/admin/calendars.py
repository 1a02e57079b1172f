"""Working calendars in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from import_export import resources
from import_export.fields import Field
from import_export.widgets import JSONWidget

from workflows.models import Calendar

from .forms import TableAdmin


class CalendarResource(resources.ModelResource):
    """Calendars as rows, known by their code. One that nothing could be counted on is refused, as in the form."""

    hours = Field("hours", "hours", widget=JSONWidget())
    holidays = Field("holidays", "holidays", widget=JSONWidget(), default=list)

    class Meta:
        model = Calendar
        import_id_fields = ("code",)
        fields = ("code", "name", "time_zone", "hours", "holidays")
        clean_model_instances = True
        skip_unchanged = True
        report_skipped = True


@admin.register(Calendar)
class CalendarAdmin(TableAdmin):
    """Calendars. The code is fixed once given: definitions and departments name the calendar by it."""

    resource_classes = [CalendarResource]
    list_display = ("name", "code", "time_zone")
    search_fields = ("name", "code")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("code",) if obj else ()
