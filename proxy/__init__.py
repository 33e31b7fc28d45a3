"""What a client can see of Streamlane: protocols, the one line of work, the process."""

__version__ = "0.1.0"  # pyproject.toml says the same, and a test compares them
