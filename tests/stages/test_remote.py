"""Files behind a URL whose store does not answer for a while."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stages import patience
from stages.errors import StoreSilent
from stages.patience import patiently
from stages.remote import opened
from stages.sources.files import Files
from stages.sources.tars import read_tar


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.05)


class EndpointConnectionError(Exception):
    """As in botocore: no OSError."""


class NoCredentialsError(Exception):
    """As in botocore."""


EndpointConnectionError.__module__ = NoCredentialsError.__module__ = "botocore.exceptions"


def silent(times: int, error: Exception) -> Callable[[], str]:
    """Answers after it has raised so many times."""
    left = [error] * times

    def ask() -> str:
        if left:
            raise left.pop()
        return "answer"

    return ask


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "refused"),
        TimeoutError(),
        OSError(5, "InternalError"),
        EndpointConnectionError("Could not connect to the endpoint URL"),
    ],
)
def test_a_store_that_does_not_answer_is_asked_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert patiently("s3://b/w", silent(3, error)) == "answer"
    (line,) = caplog.messages
    assert line.startswith("s3://b/w does not answer: ")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "no"),
        FileNotFoundError("as s3fs raises it"),
        PermissionError(13, "AccessDenied"),
        OSError(22, "InvalidArgument"),
        OSError(28, "No space left on device"),
        OSError(38, "NotImplemented"),
        ValueError("wrong"),
        NoCredentialsError("Unable to locate credentials"),
    ],
)
def test_what_would_fail_again_is_told_at_once(error: Exception) -> None:
    with pytest.raises(type(error)):
        patiently("s3://b/w", silent(1, error))


def test_patience_ends_in_words() -> None:
    with pytest.raises(StoreSilent, match=r"s3://b/w does not answer, tried for .*: refused; the"):
        patiently("s3://b/w", silent(9999, ConnectionRefusedError("refused")))


class Refusal(Exception):
    """As aiohttp's error for a state of HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status}")
        self.status = status


Refusal.__module__ = "aiohttp.client_exceptions"


@pytest.mark.parametrize(
    ("status", "asked_again"), [(503, True), (429, True), (403, False), (410, False)]
)
def test_a_state_of_http_says_whether_to_ask_again(status: int, asked_again: bool) -> None:
    assert patience.is_passing(Refusal(status)) is asked_again


TAR_SIZE = 12 << 20
"""More than fsspec reads at a time, so that a tar is read in several requests."""


class TarServer(ThreadingHTTPServer):
    """Serves one tar in ranges, at any path that ends in .tar; the others are not found."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = content
        self.failing = 0
        """Of each seven requests, so many in a row get the state 503."""
        self.asked = 0

    def handle_error(self, *_: object) -> None:
        """Says nothing of clients that leave before the end."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/a.tar"


class _Answer(BaseHTTPRequestHandler):
    server: TarServer

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(self.server.content)

    def _answer(self, content: bytes) -> None:
        server = self.server
        server.asked += 1
        if server.asked % 7 < server.failing:
            return self._state(503, 0)
        if not self.path.endswith(".tar"):
            return self._state(404, 0)
        wanted = self.headers.get("Range")
        if wanted is None:
            self._state(200, len(server.content))
            self.wfile.write(content)
            return None
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1]
        self._state(206, len(part))
        self.wfile.write(part)
        return None

    def _state(self, status: int, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[TarServer]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(12):
            member = tarfile.TarInfo(f"{number:02}.jpg")
            member.size = TAR_SIZE // 12
            tar.addfile(member, io.BytesIO(bytes([number]) * member.size))
    server = TarServer(buffer.getvalue())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def samples(files: Files) -> list[tuple[str, str, int]]:
    """(key, reason of a problem, bytes) of each sample of the tar."""
    found = []
    for sample in read_tar(files, "a.tar", lambda field: 1 << 30):
        found.append((sample.key, sample.problem.reason if sample.problem else "", sample.size))
    return found


WHOLE = [(f"{number:02}", "", TAR_SIZE // 12) for number in range(12)]


def test_a_tar_of_a_server_that_often_fails_is_read_whole(
    server: TarServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 60.0)
    server.failing = 4
    files = Files(server.url, (".tar",))
    assert files.list() == ["a.tar"]
    assert samples(files) == WHOLE
    assert server.asked > 7


def test_a_server_that_never_answers_is_no_sample_with_a_problem(server: TarServer) -> None:
    files = Files(server.url, (".tar",))
    server.failing = 7
    with pytest.raises(StoreSilent, match=r"source\.path=http://.* does not answer"):
        samples(files)
    with pytest.raises(StoreSilent):
        files.fetch("a.tar")
    with pytest.raises(StoreSilent):
        Files(server.url, (".tar",))


def test_a_file_that_a_server_does_not_have_is_missing_at_once(server: TarServer) -> None:
    url = server.url.replace(".tar", ".json")
    with pytest.raises(FileNotFoundError):
        opened(url)
    assert server.asked == 2
    with pytest.raises(ValueError, match="no such folder or file"):
        Files(url, (".json",)).list()


def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed(server: TarServer) -> None:
    with opened(server.url) as file:
        assert len(file.read(1000)) == 1000
        server.content = server.content[:-512]
        server.asked, server.failing = 0, 2
        with pytest.raises(OSError, match="was replaced while it was read"):
            file.read(TAR_SIZE)
