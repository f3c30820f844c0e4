"""Downloading one big file so that nothing which arrived is ever fetched twice.

What has arrived lies in a partial file, beside it a note with the address and the server's validator
(RFC 9110: ETag or Last-Modified); an interrupted or truncated download goes on from there with Range
and If-Range. Not for: what the file must be (models.py checks the hash), nor packages (apt, pip).
"""

import contextlib
import json
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import requests

from builder.cache import write_atomically
from builder.errors import AetherError

ATTEMPTS = 5  # in one run; the next run goes on from where this one ended
PAUSE = 1.0  # seconds before the second attempt, twice as many before each one after it
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
CHUNK = 1 << 16  # bytes; a connection that breaks loses less than this

OnProgress = Callable[[int, int], None]  # bytes that are there, bytes in all (0: not known)


class FetchFailed(AetherError):
    """A source could not give the file."""

    exit_status = 1


class _Broken(Exception):
    """The connection or the server failed in a way that may pass."""


def download(url: str, partial: Path, *, size: int = 0, on_progress: OnProgress) -> bool:
    """Fetch `url` into `partial`, going on from what is there; `size` in bytes, 0 where unknown.

    Returns whether bytes of an earlier run are part of the result. Raises FetchFailed; the partial
    file then stays for the next run, unless it cannot be of use.
    """
    note = partial.with_name(f"{partial.name}.json")
    earlier = _have(partial) if _validator(note, url) is not None else 0
    if not earlier:
        partial.unlink(missing_ok=True)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            kept = _attempt(url, partial, note, size, on_progress)
        except _Broken as error:
            failure = str(error)
        else:
            note.unlink(missing_ok=True)
            return bool(earlier and kept)
        if not _have(partial):
            earlier = 0
    raise FetchFailed(
        f"{url}: {failure}, {ATTEMPTS} times; {_have(partial)} bytes are kept",
        hint="run the same command again: it goes on from there",
    )


def _have(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _validator(note: Path, url: str) -> str | None:
    """What the server called the file whose first bytes we have; None where they are not of this URL."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        kept = json.loads(note.read_text())
        if kept["url"] == url:
            return str(kept["validator"])
    return None


def _attempt(url: str, partial: Path, note: Path, size: int, on_progress: OnProgress) -> bool:
    """One request; whether what was in `partial` is still part of it. Raises FetchFailed or _Broken."""
    have = _have(partial)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := _validator(note, url):
            headers["If-Range"] = validator
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            total, start = _accept(url, response, have, size)
            if start is None:
                return True
            # A weak ETag does not promise the same bytes, so it cannot stand in an If-Range.
            etag = response.headers.get("ETag", "")
            stamp = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
            write_atomically(note, json.dumps({"url": url, "validator": stamp}))
            with partial.open("ab" if start else "wb") as file:
                done = start
                on_progress(done, total)
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if size and done > size:
                        break
                    on_progress(done, total)
    except requests.ConnectionError as error:
        if partial.exists() and _have(partial) > have:
            raise _Broken("the connection broke") from error
        raise _unreachable(url, error) from error
    except (requests.exceptions.ChunkedEncodingError, requests.Timeout) as error:
        raise _Broken("the connection broke") from error
    except requests.RequestException as error:
        raise FetchFailed(f"{url}: {error}", hint="check the address") from error
    if total and done != total:
        partial.unlink()
        raise FetchFailed(f"{url} gave {done} bytes and had announced {total}")
    return start > 0


def _accept(url: str, response: requests.Response, have: int, size: int) -> tuple[int, int | None]:
    """The whole file's bytes (0: not known) and where this body starts in it; None if all is there."""
    status = response.status_code
    ranged = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    total = int(ranged[2]) if ranged and ranged[2] != "*" else 0
    start = 0
    if status == HTTPStatus.PARTIAL_CONTENT and ranged and ranged[1] and int(ranged[1]) == have:
        start = have
    elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have and total == have:
        return total, None
    elif status == HTTPStatus.OK:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else 0
    else:
        raise _refused(url, status)
    if size and total and total != size:
        raise FetchFailed(
            f"{url} has {total} bytes, the catalogue says {size}",
            hint="the file at this address is another one; nothing was fetched",
        )
    return total or size, start


def _refused(url: str, status: int) -> Exception:
    words = f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
    if status >= 500 or status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT):
        return _Broken(f"the server answers {words}")
    if status in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return FetchFailed(f"{url}: the server answers {words} with a range that was not asked for")
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return FetchFailed(f"{url}: there is no such file ({words})", hint="check the address")
    return FetchFailed(
        f"{url}: the server answers {words}", hint="the file cannot be had without an account"
    )


def _unreachable(url: str, error: Exception) -> FetchFailed:
    text = str(error)
    reason = next(
        (
            reason
            for sign, reason in (
                ("refused", "connection refused"),
                ("resolve", "its name is not known"),
                ("Name or service", "its name is not known"),
                ("CERTIFICATE", "its certificate cannot be verified"),
                ("timed out", "no answer"),
                ("unreachable", "no route to it"),
            )
            if sign in text
        ),
        "the connection broke before an answer",
    )
    return FetchFailed(
        f"{urlsplit(url).netloc} cannot be reached: {reason}", hint="this step needs the network"
    )
