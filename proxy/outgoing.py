"""Builds the outgoing transport that the configuration describes."""

from backends.forward_proxy import forward_proxy
from backends.http import Transport
from backends.http_connect import trusting
from proxy.config import Transport as Options


def transport(options: Options, connect_deadline: float) -> Transport:
    """One for all backends; `connect_deadline` is in seconds. Raises ValueError when its ca_file cannot be used."""
    tls = None
    if options.ca_file is not None:
        try:
            tls = trusting(options.ca_file)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ValueError(
                f"transport.ca_file: {options.ca_file} cannot be used: {why}. Name a file of certificates in PEM."
            ) from None
    return Transport(
        connect_deadline=connect_deadline,
        max_idle=options.max_idle,
        max_connections=options.max_connections,
        tls=tls,
        proxy=None if options.proxy is None else forward_proxy(options.proxy, options.no_proxy),
    )
