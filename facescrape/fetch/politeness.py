"""Politeness: how often, and how many times at once, a host may be asked while "URLs → photographs" are fetched."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Politeness:
    """How a host is treated.

    Attributes:
        connections_per_host: at once.
        requests_per_s_per_host: at most; None: as many as it answers. A Crawl-delay in robots.txt may make it fewer.
        longest_crawl_delay_s: what a Crawl-delay is cut to.
        tries: per URL, and per robots.txt.
        pause_s: before the second try, on average half of it; for each further one twice as long.
        longest_pause_s: what that is cut to.
        longest_retry_after_s: a host that asks to be left alone for longer is given up until then.
        failures_in_a_row: after so many, whatever the URLs, a host is given up for a day.
    """

    connections_per_host: int = 2
    requests_per_s_per_host: float | None = 5.0
    longest_crawl_delay_s: float = 30.0
    tries: int = 3
    pause_s: float = 2.0
    longest_pause_s: float = 30.0
    longest_retry_after_s: float = 60.0
    failures_in_a_row: int = 10

    def __post_init__(self) -> None:
        if min(self.connections_per_host, self.tries, self.failures_in_a_row) < 1:
            raise ValueError(f"connections, tries and failures must be 1 or more: {self}")
        if self.requests_per_s_per_host is not None and self.requests_per_s_per_host <= 0:
            raise ValueError(f"requests per second must be positive: {self}")
        pauses = (self.longest_crawl_delay_s, self.pause_s, self.longest_pause_s, self.longest_retry_after_s)
        if min(pauses) < 0:
            raise ValueError(f"pauses must not be negative: {self}")

    def spacing_s(self, crawl_delay_s: float | None) -> float:
        """Seconds between the beginnings of two requests to a host."""
        own = 1 / self.requests_per_s_per_host if self.requests_per_s_per_host else 0.0
        return max(own, min(crawl_delay_s or 0.0, self.longest_crawl_delay_s))

    def backoff_s(self, tries: int, jitter: float) -> float:
        """Seconds to wait after so many tries: exponential, with full jitter, a number of [0, 1)."""
        return jitter * min(self.longest_pause_s, math.ldexp(self.pause_s, tries - 1))
