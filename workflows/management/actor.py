"""Who acts where a command is run: what is done by hand has a name in the history."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser


def add_actor(parser: ArgumentParser) -> None:
    """Add `--actor`: the name that is kept, the account of this machine where none is given."""
    parser.add_argument("--actor", default=_account(), help="who does it; kept for ever (default: %(default)s)")


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "manage.py"
