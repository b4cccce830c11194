"""What every test folder shares."""

pytest_plugins = ["tests.cluster.fixtures", "tests.recotem_python"]
