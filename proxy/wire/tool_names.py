"""Tools in a namespace, and the one name that models know each of them by. Pure."""


def model_name(namespace: str | None, name: str) -> str:
    """What a model calls it: chat completions have no namespaces."""
    return name if namespace is None else f"{namespace}__{name}"


def own_name(namespace: str | None, named: str) -> str:
    """What the client calls the tool that a model named, without its namespace."""
    return named if namespace is None else named.removeprefix(model_name(namespace, ""))
