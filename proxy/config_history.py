"""The configuration's type for what is kept of routed calls, for the learned router to learn from."""

from typing import Annotated

from msgspec import Meta

from proxy.config_table import Count, Table


class History(Table, frozen=True):
    """What is kept of calls whose model a rule or the learned router chose: streamlane.db in data_dir."""

    enabled: Annotated[
        bool, Meta(description="Whether anything is kept. Without it nobody can rate answers, and nothing is learned.")
    ] = True
    prompts: Annotated[
        bool,
        Meta(
            description="Whether the questions themselves are kept too, their first and last 2,000 characters. Without "
            "it only measures and hashes of their words are, which is enough to learn from."
        ),
    ] = False
    days: Annotated[float, Meta(gt=0, le=36500, description="Days that a call is kept.")] = 90
    max_rows: Annotated[Count, Meta(description="Calls that are kept; the oldest go first.")] = 200000
    feedback_per_day: Annotated[Count, Meta(description="Answers that one API key may rate in 24 hours.")] = 100
