"""A real HTTP server on loopback that serves one file and can be told to misbehave.

For the tests of downloads. It speaks HTTP/1.1 with Range, If-Range and ETag (RFC 9110).
"""

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = "/model.gguf"


@dataclass
class FileServer:
    """What it serves and how; `requests` keeps each request's range ("" for none)."""

    body: bytes
    etag: str = '"one"'
    ranges: bool = True
    cut: list[int] = field(default_factory=list)  # bytes of the body after which each answer breaks off
    statuses: list[int] = field(default_factory=list)  # answers to give instead, first to last
    announce: int | None = None  # a false Content-Length
    requests: list[str] = field(default_factory=list)
    sent: threading.Event = field(default_factory=threading.Event)  # the first bytes of a body are out
    hold: threading.Event | None = None  # after them, wait for this
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20  # seconds that a silent client may keep a thread

    def do_GET(self) -> None:
        place = self.server.place  # type: ignore[attr-defined]
        assert isinstance(place, FileServer)
        place.requests.append(self.headers.get("Range", ""))
        if place.statuses or self.path != PATH:
            self.send_error(place.statuses.pop(0) if place.statuses else 404)
            return
        start, total = 0, len(place.body)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, place.etag)
        if wanted and place.ranges and same:
            start = int(wanted[1])
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if place.etag:
            self.send_header("ETag", place.etag)
        self.send_header("Content-Length", str(place.announce or total - start))
        self.end_headers()
        body = place.body[start:]
        if place.cut:
            body = body[: place.cut.pop(0)]
            self.close_connection = True
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[: 1 << 17])
            self.wfile.flush()
            place.sent.set()
            if place.hold:
                place.hold.wait(20)
            self.wfile.write(body[1 << 17 :])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(place: FileServer) -> Iterator[FileServer]:
    """Serve until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.place = place  # type: ignore[attr-defined]
        place.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield place
        finally:
            if place.hold:
                place.hold.set()
            server.shutdown()
            thread.join()
