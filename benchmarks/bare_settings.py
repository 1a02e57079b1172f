"""The product's settings with one bare view in the place of all its own."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.bare"
