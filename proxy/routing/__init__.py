"""Which model answers a request: rules, the learned router's verdict, constraints, strategies. Nothing here waits."""
