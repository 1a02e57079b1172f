"""The library behind expressions, without its command line.

Its package begins by loading a command line, which takes a process longer than all of Django's models. A module of that
name, and nothing in it, keeps it out of every worker and every command.
"""

import sys
from types import ModuleType

sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))

import cel  # noqa: E402  (only now: the line above is what this module is for)

__all__ = ["cel"]
