"""Working calendars: when an office works."""

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from workflows.engine.calendar import WorkingCalendar, calendar_faults
from workflows.engine.exceptions import NoWorkingTime
from workflows.engine.faults import Fault


class Calendar(models.Model):
    """Working hours of a week, and the days on which nobody works, in one time zone.

    `hours` maps weekdays to spans, as in {"mon": [["09:00", "12:00"], ["13:00", "17:00"]]}; a weekday that is left out
    is free. What counts as a working day, and how durations are added, is in `workflows.engine.calendar`.
    """

    code = models.SlugField(max_length=100, unique=True, help_text="The name that definitions and departments use.")
    name = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, default="UTC")
    hours = models.JSONField(
        default=dict, help_text='Spans of each weekday, as in {"mon": [["09:00", "12:00"], ["13:00", "17:00"]]}.'
    )
    holidays = models.JSONField(default=list, blank=True, help_text='Dates, as in ["2026-12-25"].')

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what nothing could be counted on."""
        errors: dict[str, list[str]] = {}
        for fault in self.faults():
            field, _, place = fault.pointer.removeprefix("/").partition("/")
            errors.setdefault(field, []).append(f"{place}: {fault.detail}" if place else fault.detail)
        if errors:
            raise ValidationError(errors)

    def faults(self) -> list[Fault]:
        """Bad hours, holidays or time zone, no working hour, no working day in ten years; each with its place."""
        found = calendar_faults(self.time_zone, self.hours, self.holidays)
        if not found:
            try:
                self.compiled().require_working_day(timezone.localdate())
            except NoWorkingTime as error:
                found.append(Fault("/holidays", "no_working_time", str(error)))
        return found

    def compiled(self) -> WorkingCalendar:
        """The calendar to count on. Raises InvalidCalendar and NoWorkingTime."""
        return WorkingCalendar(self.time_zone, self.hours, self.holidays)
