"""The order: taking it in, and closing it with an invoice."""
