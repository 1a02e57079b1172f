"""The departments' part of `/api/v1/`."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from . import departments, responses, work_items

app_name = "departments-api"


class TaskName(StringConverter):
    """The name of a task, or that of the undoing of one: `undo:pay`."""

    regex = "(?:undo:)?[-a-zA-Z0-9_]+"


register_converter(TaskName, "task_name")

urlpatterns = [
    path("work-items/", work_items.WorkItemList.as_view(), name="work-item-list"),
    path("work-items/<uuid:item_id>/", work_items.WorkItemDetail.as_view(), name="work-item-detail"),
    path("work-items/<uuid:item_id>/claim/", work_items.Claim.as_view(), name="work-item-claim"),
    path("work-items/<uuid:item_id>/release/", work_items.Release.as_view(), name="work-item-release"),
    path("work-items/<uuid:item_id>/assign/", work_items.Assign.as_view(), name="work-item-assign"),
    path("work-items/<uuid:item_id>/forward/", work_items.Forward.as_view(), name="work-item-forward"),
    path("work-items/<uuid:item_id>/comment/", work_items.CommentOn.as_view(), name="work-item-comment"),
    path("work-items/<uuid:item_id>/complete/", work_items.Complete.as_view(), name="work-item-complete"),
    path("jobs/<uuid:job_id>/tasks/<task_name:task>/response/", responses.TaskResponse.as_view(), name="task-response"),
    path("departments/", departments.DepartmentList.as_view(), name="department-list"),
    path("departments/<slug:code>/", departments.DepartmentDetail.as_view(), name="department-detail"),
]
