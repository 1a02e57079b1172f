"""A department with its people, for every test of departments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Permission

from departments.models import Department
from tests.departments.makers import member
from tests.factories import DepartmentFactory, UserFactory


@dataclass
class People:
    """Who is who around the department `verification`; `outsider` is a member of another one."""

    department: Department
    elsewhere: Department
    member: Any
    colleague: Any
    lead: Any
    outsider: Any
    operator: Any
    system: Any
    superuser: Any
    stranger: Any

    def named(self, name: str) -> Any:
        return getattr(self, name)


@pytest.fixture
def people(db: None) -> People:
    """Two departments and one user of every kind."""
    department = DepartmentFactory(code="verification", name="Verification")
    elsewhere = DepartmentFactory(code="payments", name="Payments")
    operator, system = UserFactory(username="operator"), UserFactory(username="system")
    operator.user_permissions.add(Permission.objects.get(codename="operate_job"))
    system.user_permissions.add(Permission.objects.get(codename="respond_any"))
    return People(
        department=department,
        elsewhere=elsewhere,
        member=member(department, "member"),
        colleague=member(department, "colleague"),
        lead=member(department, "lead", lead=True),
        outsider=member(elsewhere, "outsider"),
        operator=operator,
        system=system,
        superuser=UserFactory(username="superuser", is_superuser=True),
        stranger=UserFactory(username="stranger"),
    )
