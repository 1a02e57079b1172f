"""The examples as data of an installation: their plugins, departments, definitions, and accounts to try them with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import transaction

from departments.models import Department, Membership
from workflows.engine.calendar import WEEKDAYS
from workflows.engine.parsing import load_text
from workflows.intake.publishing import publish
from workflows.intake.registering import register
from workflows.intake.subscriptions import describe, subscribe
from workflows.models import Calendar

DEMO_PASSWORD = "demo"  # noqa: S105  (public on purpose: these accounts are for trying the product out)

MEMBER, LEAD = Membership.Role.MEMBER, Membership.Role.LEAD


@dataclass(frozen=True)
class ExampleDepartment:
    """A department of the examples."""

    code: str
    name: str
    description: str


DEPARTMENTS = (
    ExampleDepartment("verification", "Verification", "Decides whether a claim is paid, and how much."),
    ExampleDepartment("claimant-services", "Claimant services", "Asks claimants for what is missing in a claim."),
    ExampleDepartment("payments", "Payments", "Settles by hand what the payment service refused."),
    ExampleDepartment("packing", "Packing", "Packs orders."),
    ExampleDepartment("shipping", "Shipping", "Hands parcels to a carrier."),
    ExampleDepartment("delivery", "Delivery", "Brings parcels to the customer."),
    ExampleDepartment("order-desk", "Order desk", "Clarifies orders that got stuck."),
)


@dataclass(frozen=True)
class DemoAccount:
    """An account to try the product with, named by its role."""

    username: str
    does: str
    departments: tuple[tuple[str, str], ...] = ()
    groups: tuple[str, ...] = ()
    superuser: bool = False
    staff: bool = False


DEMO_ACCOUNTS = (
    DemoAccount("verifier", "decides claims", (("verification", MEMBER),)),
    DemoAccount("verification-lead", "leads the verifiers", (("verification", LEAD),)),
    DemoAccount("clerk", "completes claims, clarifies orders", (("claimant-services", MEMBER), ("order-desk", MEMBER))),
    DemoAccount("cashier", "settles refused payments", (("payments", MEMBER),)),
    DemoAccount("packer", "answers for packing", (("packing", MEMBER),)),
    DemoAccount("shipper", "answers for shipping", (("shipping", MEMBER),)),
    DemoAccount("courier", "answers for delivery", (("delivery", MEMBER),)),
    DemoAccount("operator", "sees every job, repairs what failed", groups=("operators",), staff=True),
    DemoAccount("configurator", "publishes definitions, keeps the tables", groups=("configurators",), staff=True),
    DemoAccount("upstream", "the program that submits jobs"),
    DemoAccount("admin", "may do everything", superuser=True, staff=True),
)


class NotADemonstration(Exception):
    """The database has accounts of its own. Demo accounts, whose password is public, are not made next to them."""


def load_plugins() -> Iterator[str]:
    """Register the examples' plugins; a line for each that is new."""
    for path in sorted((settings.BASE_DIR / "plugins").glob("*/registrations.json")):
        for registered in register(json.loads(path.read_text(encoding="utf-8"))):
            if registered.change == "created":
                yield f"plugin {registered.registration.job_type}"


def load_calendars() -> Iterator[str]:
    """Make the calendar that definitions call `business`: nine to five in the office's time zone; a line if new."""
    facts = {
        "name": "Business hours",
        "time_zone": settings.TIME_ZONE,
        "hours": {day: [["09:00", "17:00"]] for day in WEEKDAYS[:5]},
    }
    if Calendar.objects.get_or_create(code="business", defaults=facts)[1]:
        yield "calendar business"


def load_departments() -> Iterator[str]:
    """Make the examples' departments; a line for each that is new."""
    for example in DEPARTMENTS:
        facts = {"name": example.name, "description": example.description}
        if Department.objects.get_or_create(code=example.code, defaults=facts)[1]:
            yield f"department {example.code}"


def load_definitions() -> Iterator[str]:
    """Publish the examples' definitions; a line for each version that is new. Raises InvalidDefinition."""
    for path in definition_files():
        media_type = "application/json" if path.suffix == ".json" else "application/yaml"
        published = publish(load_text(path.read_bytes(), media_type), note="Example")
        if published.created:
            yield f"definition {published.definition}"


def definition_files() -> list[Path]:
    """The examples' definitions: one in the folder of each example's plugins, or several in `definitions/` below it."""
    plugins = settings.BASE_DIR / "plugins"
    return sorted([*plugins.glob("*/definition.*"), *plugins.glob("*/definitions/*.*")])


def load_subscriptions() -> Iterator[str]:
    """Say what the examples' events must be and what they start; a line for each that is new."""
    for name, load in (("event_schemas", describe), ("subscriptions", subscribe)):
        for path in sorted((settings.BASE_DIR / "plugins").glob(f"*/{name}.json")):
            for configured in load(json.loads(path.read_text(encoding="utf-8"))):
                if configured.change == "created":
                    yield f"{configured.row._meta.verbose_name} {configured.row}"


@transaction.atomic
def load_demo_accounts() -> list[str]:
    """Make the demo accounts; a line for each that is new. What an existing one may do is not touched.

    Raises NotADemonstration where the database has other accounts and none of the demo ones: it is somebody's own.
    """
    users = get_user_model().objects
    names = [account.username for account in DEMO_ACCOUNTS]
    if users.exists() and not users.filter(username__in=names).exclude(username="admin").exists():
        raise NotADemonstration(
            "This database has accounts of its own. The demo accounts' password is public, so they are not made here."
        )
    new = [account for account in DEMO_ACCOUNTS if not users.filter(username=account.username).exists()]
    # One hash for all of them: it is slow by design, and what it hides is public.
    password = make_password(DEMO_PASSWORD) if new else ""
    for account in new:
        _make(account, password)
    return [f"account {account.username}" for account in new]


def _make(account: DemoAccount, password: str) -> None:
    """Make one account, with this hash of its password."""
    users = get_user_model().objects
    make = users.create_superuser if account.superuser else users.create_user
    user = make(account.username, f"{account.username}@example.org")
    user.password = password
    user.is_staff = user.is_staff or account.staff
    user.save(update_fields=["password", "is_staff"])
    user.groups.add(*(Group.objects.get(name=name) for name in account.groups))
    for code, role in account.departments:
        Membership.objects.create(department=Department.objects.get(code=code), user=user, role=role)
