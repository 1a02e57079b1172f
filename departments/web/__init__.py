"""The inbox in the browser: a door. It checks the shape, makes one call, and shows the answer."""
