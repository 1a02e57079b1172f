"""Who may do what with jobs and configuration."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission

from tests.factories import UserFactory
from tests.intake.makers import make_definition
from workflows import policy
from workflows.groups import make_groups
from workflows.intake.submit import Submission, submit_job

pytestmark = pytest.mark.django_db


def test_the_groups_are_there_with_their_rights() -> None:
    operator, configurator, nobody = UserFactory(), UserFactory(), UserFactory()
    operator.groups.add(Group.objects.get(name="operators"))
    configurator.groups.add(Group.objects.get(name="configurators"))
    rights = [(policy.may_operate(user), policy.may_configure(user)) for user in (operator, configurator, nobody)]
    assert rights == [(True, False), (False, True), (False, False)]


def test_a_superuser_may_all_and_an_inactive_one_nothing() -> None:
    assert policy.may_operate(UserFactory(is_superuser=True))
    inactive = UserFactory(is_superuser=True, is_active=False)
    assert not policy.may_operate(inactive)
    assert not policy.visible_jobs(inactive).exists()


def test_a_permission_of_ones_own_is_as_good_as_the_group_and_agrees_with_django() -> None:
    user = UserFactory()
    user.user_permissions.add(Permission.objects.get(codename="operate_job"))
    assert policy.may_operate(user)
    assert user.has_perm("workflows.operate_job")


def test_nobody_sees_a_foreign_job_without_a_reason() -> None:
    make_definition("claim")
    owner, other = UserFactory(), UserFactory()
    job = submit_job(Submission("claim", {}), submitted_by=owner).job
    assert list(policy.visible_jobs(owner)) == [job]
    assert not policy.visible_jobs(other).exists()
    assert not policy.visible_jobs(AnonymousUser()).exists()


def test_making_the_groups_again_keeps_what_an_administrator_added() -> None:
    from django.apps import apps

    group = Group.objects.get(name="operators")
    extra = Permission.objects.get(codename="view_user")
    group.permissions.add(extra)
    before = set(group.permissions.values_list("codename", flat=True))
    make_groups(apps.get_app_config("workflows"))
    assert set(group.permissions.values_list("codename", flat=True)) == before
    assert "operate_job" in before


def test_a_right_is_asked_for_once_a_request(django_assert_num_queries: Any) -> None:
    user = UserFactory()
    with django_assert_num_queries(1):
        policy.may_operate(user)
        policy.may_operate(user)
