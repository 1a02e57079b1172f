"""`manage.py load_examples`."""

from __future__ import annotations

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from departments.models import Department, Membership
from tests.factories import UserFactory
from workflows import policy
from workflows.models import Calendar, Definition, EventSchema, PluginRegistration, Subscription

pytestmark = pytest.mark.django_db


def load(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("load_examples", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_it_loads_plugins_departments_and_definitions_and_no_account() -> None:
    load()
    assert set(Definition.objects.values_list("name", flat=True)) == {
        *("insurance_claim", "order_processing"),
        *("shop_order", "shop_warehouse", "shop_payment", "shop_loyalty", "shop_release"),
    }
    assert Subscription.objects.get(name="shop-payment").type == "stock.reserved"
    assert EventSchema.objects.filter(type="order.placed").exists()
    assert PluginRegistration.objects.filter(job_type="claims.pay", enabled=True).exists()
    assert Department.objects.filter(code="verification").exists()
    assert Calendar.objects.get(code="business").compiled().week[0] == 5
    assert not get_user_model().objects.exists()


def test_repeating_it_changes_nothing() -> None:
    assert len(load("--demo-users")) > 20
    definitions = Definition.objects.count()
    assert load("--demo-users") == []
    assert Definition.objects.count() == definitions


def test_what_an_administrator_changed_stays_as_it_is() -> None:
    load()
    PluginRegistration.objects.filter(job_type="claims.pay").update(configuration={"gateway": "book", "limit": 5})
    Department.objects.filter(code="packing").update(name="Warehouse")
    load()
    assert PluginRegistration.objects.get(job_type="claims.pay").configuration["limit"] == 5
    assert Department.objects.get(code="packing").name == "Warehouse"


def test_the_demo_accounts_may_do_what_their_names_say() -> None:
    load("--demo-users")
    users = {user.username: user for user in get_user_model().objects.all()}
    assert policy.may_operate(users["operator"])
    assert policy.may_configure(users["configurator"])
    assert users["admin"].is_superuser
    assert not policy.may_operate(users["verifier"])
    assert not any(policy.may_configure(users[name]) for name in ("verifier", "upstream", "operator"))
    lead = Membership.objects.get(user=users["verification-lead"])
    assert (lead.department.code, lead.role) == ("verification", Membership.Role.LEAD)


def test_demo_accounts_are_never_made_next_to_accounts_of_one_s_own() -> None:
    UserFactory(username="admin")
    with pytest.raises(CommandError, match="accounts of its own") as refused:
        load("--demo-users")
    assert refused.value.returncode == 3
    assert list(get_user_model().objects.values_list("username", flat=True)) == ["admin"]


def test_an_account_added_to_a_demonstration_does_not_stop_the_next_run() -> None:
    load("--demo-users")
    UserFactory(username="newcomer")
    assert load("--demo-users") == []


def test_a_demo_account_that_was_given_a_password_keeps_it() -> None:
    load("--demo-users")
    verifier = get_user_model().objects.get(username="verifier")
    verifier.set_password("correct horse")
    verifier.save()
    load("--demo-users")
    verifier.refresh_from_db()
    assert verifier.check_password("correct horse")
