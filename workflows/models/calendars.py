"""Working calendars: when an office works."""

from django.db import models


class Calendar(models.Model):
    """Working hours of a week, and the days on which nobody works, in one time zone.

    `hours` maps weekdays to spans, as in {"mon": [["09:00", "12:00"], ["13:00", "17:00"]]}; a weekday that is left out
    is free. What counts as a working day, and how durations are added, is in `workflows.engine.calendar`.
    """

    code = models.SlugField(max_length=100, unique=True, help_text="The name that definitions and departments use.")
    name = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, default="UTC")
    hours = models.JSONField(default=dict)
    holidays = models.JSONField(default=list, blank=True, help_text='Dates, as in ["2026-12-25"].')

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
