"""Where the reports are, under `/api/v1/`."""

from django.urls import path, re_path

from .reports import CompressedHistoryView, CsvView, HistoryView, WorkbookView

urlpatterns = [
    path("reports/history.xes", HistoryView.as_view(), name="report-history"),
    path("reports/history.xes.gz", CompressedHistoryView.as_view(), name="report-history-gz"),
    re_path(r"^reports/(?P<report>[a-z0-9-]+)\.xlsx$", WorkbookView.as_view(), name="report-xlsx"),
    re_path(r"^reports/(?P<report>[a-z0-9-]+)\.csv$", CsvView.as_view(), name="report-csv"),
]
