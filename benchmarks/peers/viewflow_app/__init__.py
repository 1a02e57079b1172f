"""The Django app that Viewflow wants its flows to be in."""
