"""System checks: what would break a promise of the product is said at start, with an id and a hint."""
