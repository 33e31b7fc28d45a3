"""The one error of the configuration. Light, so that the command line can catch it without loading the rest."""

from collections.abc import Sequence


class ConfigError(Exception):
    """What is wrong with the configuration: `problems` holds one sentence each, with its place and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)
