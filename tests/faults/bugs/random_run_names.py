"""A tick's RetrainJob has a random name: nothing keeps a second one from being made."""

from tests.faults.bugs._names import name_at_random

name_at_random("retrainjobs")
