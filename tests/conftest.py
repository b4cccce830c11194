"""What every test folder shares."""

pytest_plugins = ["tests.cluster.fixtures"]
