"""What every test folder shares."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures", "tests.recotem_python"]

# The same examples in every run, however slow the machine: a failure is a change of the code, not of the dice.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", settings.get_profile("steady"), derandomize=False)  # pytest --hypothesis-profile=explore
settings.load_profile("steady")
