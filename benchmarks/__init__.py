"""Measurements: `make bench` and `make real-log`. Nothing of the product imports this."""
