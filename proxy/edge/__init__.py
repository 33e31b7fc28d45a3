"""The only server sockets. Translates nothing, decides nothing."""
