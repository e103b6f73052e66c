"""How much memory golden tensors may take."""

__all__ = ["cache_limit", "free_memory"]


def free_memory() -> int:
    """Return how many bytes the machine can give without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def cache_limit(wanted: int | None) -> int:
    """Return how many bytes golden tensors may take: as many as wanted, else a quarter of the free memory now."""
    if wanted is not None:
        return wanted
    return free_memory() // 4
