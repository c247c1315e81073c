"""Counts and durations in words."""


def counted(count: int, noun: str, ending: str = "s") -> str:
    """
    >>> counted(1, "design"), counted(1200, "design"), counted(2, "batch", "es")
    ('1 design', '1,200 designs', '2 batches')
    """
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def readable_time(seconds: float) -> str:
    """
    >>> readable_time(0.2), readable_time(100), readable_time(3 * 3600)
    ('1 second', '100 seconds', '3.0 hours')
    """
    if seconds < 1.5:
        return "1 second"
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
