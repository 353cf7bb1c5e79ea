"""The one way for a measurement to fail."""


class Failed(Exception):
    """A measurement that says nothing, and why."""
