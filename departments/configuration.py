"""Departments and who belongs to them, as scripts set them up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from workflows.engine.events import UNSET, Unset
from workflows.engine.faults import Fault
from workflows.engine.jsonvalue import check_json
from workflows.models import Calendar

from .exceptions import DepartmentsError, InvalidAnswer
from .models import Department, Membership

CODE = re.compile(r"[-a-zA-Z0-9_]{1,100}", re.ASCII)
NAME_MAX = 200
MEMBERS_MAX = 10_000


class DepartmentExists(DepartmentsError):
    """There is a department of this code already."""

    code = "department_exists"


def create_department(code: str, name: str, members: Sequence[Any] = (), calendar: str | None = None) -> Department:
    """A new department. `members` are objects `{"username", "role": "member" | "lead"}`; `calendar` is a code.

    Raises InvalidAnswer with every fault, and DepartmentExists.
    """
    faults = _name_faults(name)
    if not isinstance(code, str) or not CODE.fullmatch(code):
        faults.append(Fault("/code", "invalid_code", "must be letters, digits, “-” and “_”, at most 100 of them"))
    roles = _roles(members, faults)
    working = _calendar(calendar, faults)
    if faults:
        raise InvalidAnswer(faults)
    try:
        with transaction.atomic():
            department = Department.objects.create(code=code, name=name.strip(), calendar=working)
            _set_members(department, roles)
    except IntegrityError:
        raise DepartmentExists(f"There is a department “{code}” already.") from None
    return department


def change_department(
    department: Department,
    *,
    name: str | None = None,
    members: Sequence[Any] | None = None,
    calendar: str | Unset | None = UNSET,
) -> Department:
    """Change what is given of a department's name, members and calendar; `members` replaces the whole list, and a
    calendar of None means that it works around the clock. Raises InvalidAnswer."""
    faults = _name_faults(name) if name is not None else []
    roles = _roles(members, faults) if members is not None else None
    working = None if isinstance(calendar, Unset) else _calendar(calendar, faults)
    if faults:
        raise InvalidAnswer(faults)
    with transaction.atomic():
        # Two changes at once take turns: the later one's list is the whole list.
        department = Department.objects.select_for_update().get(pk=department.pk)
        if name is not None:
            department.name = name.strip()
            department.save(update_fields=["name"])
        if not isinstance(calendar, Unset):
            department.calendar = working
            department.save(update_fields=["calendar"])
        if roles is not None:
            _set_members(department, roles)
    return department


def _set_members(department: Department, roles: dict[int, str]) -> None:
    """Make the membership exactly this, touching only what differs."""
    present = dict(department.memberships.values_list("user_id", "role"))
    department.memberships.exclude(user_id__in=roles).delete()
    for role in Membership.Role.values:
        changed = [user for user, wanted in roles.items() if wanted == role and present.get(user, role) != role]
        department.memberships.filter(user_id__in=changed).update(role=role)
    Membership.objects.bulk_create(
        Membership(department=department, user_id=user, role=role)
        for user, role in roles.items()
        if user not in present
    )


def _roles(members: Any, faults: list[Fault]) -> dict[int, str]:
    """User ids and their roles. Adds to `faults` what is wrong with the list."""
    if not isinstance(members, list | tuple):
        faults.append(Fault("/members", "type", "must be a list"))
        return {}
    if len(members) > MEMBERS_MAX:
        faults.append(Fault("/members", "too_many", f"must be at most {MEMBERS_MAX}"))
        return {}
    named: dict[str, tuple[int, str]] = {}
    for index, entry in enumerate(members):
        at = f"/members/{index}"
        if not isinstance(entry, dict):
            faults.append(Fault(at, "type", "must be an object with username and role"))
            continue
        unknown = sorted(str(key) for key in entry.keys() - {"username", "role"})
        faults += [Fault(f"{at}/{key}", "additionalProperties", "is not expected") for key in unknown]
        username, role = entry.get("username"), entry.get("role", Membership.Role.MEMBER)
        if role not in Membership.Role.values:
            faults.append(Fault(f"{at}/role", "enum", "must be member or lead"))
        if not isinstance(username, str) or check_json(username, 1000):
            faults.append(Fault(f"{at}/username", "type", "must be a username"))
        elif username in named:
            faults.append(Fault(f"{at}/username", "repeated", f"“{username}” is in the list already"))
        else:
            named[username] = (index, role)
    users = dict(get_user_model().objects.filter(username__in=named).values_list("username", "pk"))
    for username, (index, _) in named.items():
        if username not in users:
            faults.append(Fault(f"/members/{index}/username", "unknown_user", f"there is no user “{username}”"))
    return {users[username]: role for username, (_, role) in named.items() if username in users}


def _calendar(code: str | None, faults: list[Fault]) -> Calendar | None:
    """The calendar of a code. Adds to `faults` where there is none."""
    if code is None:
        return None
    found = Calendar.objects.filter(code=code).first() if not check_json(code, 1000) else None
    if found is None:
        faults.append(Fault("/calendar", "unknown_calendar", f"there is no calendar “{str(code)[:100]}”"))
    return found


def _name_faults(name: Any) -> list[Fault]:
    if not isinstance(name, str) or not name.strip():
        return [Fault("/name", "required", "must not be empty")]
    if len(name) > NAME_MAX:
        return [Fault("/name", "too_long", f"must be at most {NAME_MAX} characters")]
    return check_json(name, 8 * NAME_MAX, at="/name")
