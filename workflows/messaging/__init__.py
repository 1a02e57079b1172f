"""What goes out and what comes in between jobs and everybody else: events kept once, and the relay."""
