"""Where responses are kept after they ended: the port, and what stands behind it."""
