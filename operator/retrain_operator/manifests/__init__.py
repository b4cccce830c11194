"""The objects that the operator makes, as pure functions to JSON objects: RetrainJobs, their Jobs, and the Leases that guard them."""
