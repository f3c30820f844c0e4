"""Whether this run may use the network: `aether build --offline` forbids it.

Whoever is about to fetch something asks here first. Not for: fetching, or whether the network works.
"""

from builder.errors import AetherError

_forbidden = False


def forbid() -> None:
    """From now on in this process nothing may be fetched."""
    global _forbidden
    _forbidden = True


def is_forbidden() -> bool:
    """Whether nothing may be fetched."""
    return _forbidden


def need(what: str) -> None:
    """Raise AetherError, saying that `what` is not in the cache, if nothing may be fetched."""
    if _forbidden:
        raise AetherError(
            f"{what}: not in the cache", hint="run it once with the network, without --offline"
        )
