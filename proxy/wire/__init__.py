"""Client formats to Request and back. Pure."""
