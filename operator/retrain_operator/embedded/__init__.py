"""The operator without a cluster: pods as local processes, for the demo, the simulator and development."""
