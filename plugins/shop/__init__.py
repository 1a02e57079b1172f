"""A shop, twice: one workflow that commands warehouse, loyalty and payment, and services that react to events."""
