"""Failures: why a service gave no answer, in words, and how often it is worth asking. Errors of requests go in.

A part of `facescrape.web.client`, under the first two arrows of "names → URLs → photographs → boxes → crops".
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3.exceptions

from facescrape.web.wire import Unresolved
from pipelines.errors import ConfigError

CONNECT_TIMEOUT_S = 10.0
TRIES = 5
PATIENT_TRIES = 12  # where the service says how long to wait
QUICK_TRIES = 3  # where nobody is there, or something else than the service
SLOW_TRIES = 2  # where it took too long


class Failure(Exception):
    """A try that brought nothing, where another may.

    Attributes:
        reason: in words, to follow the service's name.
        tries: after how many like it to give up.
        connected: whether the service was reached.
        timed_out: whether it took too long.
        retry_after_s: how long it asks to be left alone.
    """

    def __init__(
        self,
        reason: str,
        *,
        tries: int | None = None,
        connected: bool = True,
        timed_out: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tries = tries or (TRIES if retry_after_s is None else PATIENT_TRIES)
        self.connected = connected
        self.timed_out = timed_out
        self.retry_after_s = retry_after_s


@contextmanager
def explain(url: str, timeout_s: float) -> Iterator[None]:
    """For the block that asks for a URL.

    Raises:
        Failure: no answer came.
        ConfigError: the URL is none.
    """
    try:
        yield
    except Unresolved as error:
        raise Failure("its host has no address", tries=QUICK_TRIES, connected=False) from error
    except requests.exceptions.SSLError as error:
        raise Failure("it speaks no TLS, or with no valid certificate", tries=1, connected=False) from error
    except requests.ConnectTimeout as error:
        raise Failure(f"no connection within {CONNECT_TIMEOUT_S:.0f} s", tries=QUICK_TRIES, connected=False) from error
    except requests.ConnectionError as error:
        causes = list(_causes(error))
        if any(isinstance(cause, TimeoutError | urllib3.exceptions.ReadTimeoutError) for cause in causes):
            raise Failure(f"nothing came for {timeout_s:.0f} s", tries=SLOW_TRIES, timed_out=True) from error
        if any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes):
            raise Failure(_system_reason(causes), tries=QUICK_TRIES, connected=False) from error
        raise Failure("the connection broke") from error
    except requests.Timeout as error:
        raise Failure(f"it took longer than {timeout_s:.0f} s", tries=SLOW_TRIES, timed_out=True) from error
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        raise Failure("its answer broke off") from error
    except (requests.RequestException, urllib3.exceptions.LocationParseError, UnicodeError) as error:
        raise ConfigError(
            f"{url} cannot be asked for ({error})", hint="give an address such as https://HOST/PATH"
        ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What requests and urllib3 wrapped, the innermost last."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _system_reason(causes: list[BaseException]) -> str:
    """Such as "connection refused"."""
    number = next((cause.errno for cause in reversed(causes) if isinstance(cause, OSError) and cause.errno), None)
    return os.strerror(number).lower() if number else "no connection"
