"""Files from the network: over HTTPS, with a limit on size and silence; plain HTTP from this machine only."""

from __future__ import annotations

import http.client
import ipaddress
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from tqdm import tqdm

from service.errors import InstallationError

TIMEOUT_S: Final = 30.0
"""How long the other side may be silent."""

_CHUNK_BYTES: Final = 1 << 16
_NOT_THERE: Final = (404, 410)


def is_url(source: str) -> bool:
    """Whether it names something on the network, and no file."""
    return "://" in source


def download(url: str, path: Path, max_bytes: int, show_progress: bool = False) -> bool:
    """Writes what is found at a URL to a file.

    Args:
        url: with `https`, or `http` on this machine.
        path: the file; it may be there in part if the download fails.
        max_bytes: no more than this is taken.
        show_progress: whether to draw a bar on standard error.

    Returns:
        Whether there was anything.

    Raises:
        InstallationError: the URL is not allowed, cannot be reached, or gives too much or too little.
    """
    check_url(url)
    try:
        with _opener(url).open(url, timeout=TIMEOUT_S) as answer:
            _save(url, answer, path, max_bytes, show_progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _NOT_THERE:
            return False
        raise InstallationError(f"{url}: answered with status {error.code}") from None
    except urllib.error.URLError as error:
        raise InstallationError(f"{url}: cannot be reached: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise InstallationError(f"{url}: broke off: {str(error) or type(error).__name__}") from None
    return True


def check_url(url: str) -> None:
    """Checks that a URL may be asked.

    Raises:
        InstallationError: it is neither `https` nor on this machine, or holds a password.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise InstallationError("the URL must not hold a user name or password")
    allowed = parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(parts.hostname))
    if not allowed or not parts.hostname:
        raise InstallationError(f"{url}: must begin with https:// (http:// is for this machine only)")


def _save(url: str, answer: Any, path: Path, max_bytes: int, show_progress: bool) -> None:
    declared = answer.length  # None if it is not said
    too_large = InstallationError(f"{url}: has more than {max_bytes} bytes")
    if declared is not None and declared > max_bytes:
        raise too_large
    bar = tqdm(total=declared, unit="B", unit_scale=True, disable=not show_progress)
    with path.open("wb") as file, bar as progress:
        received = 0
        while chunk := answer.read(_CHUNK_BYTES):
            received += len(chunk)
            if received > max_bytes:
                raise too_large
            file.write(chunk)
            progress.update(len(chunk))
    if declared is not None and received != declared:
        raise InstallationError(f"{url}: ended after {received} of {declared} bytes")


def _is_this_machine(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """Follows only to where the first request could have gone as well."""
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener(url: str) -> urllib.request.OpenerDirector:
    # A proxy of the environment is for other machines.
    proxies: dict[str, str] | None = {} if _is_this_machine(urlsplit(url).hostname) else None
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _CheckedRedirects())
