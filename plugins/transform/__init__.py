"""Shapes data by configuration: the smallest plugin, and the one to copy."""
