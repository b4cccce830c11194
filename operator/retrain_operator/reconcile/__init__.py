"""Between the cluster and the rules: what was observed goes in as frozen values, and what was decided is done."""
