"""A run's Job has a random name, as with generateName."""

from tests.faults.bugs._names import name_at_random

name_at_random("jobs")
