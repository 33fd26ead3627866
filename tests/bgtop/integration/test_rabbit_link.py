"""What a real RabbitMQ answers, and what an operator is told when it does not."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import amqp
import pytest
from door import Door
from rabbit_server import PASSWORD, RabbitVhost, quiet_ports

from bgtop.backends.rabbit_link import RabbitLink
from bgtop.backends.rabbit_management import Management
from bgtop.backends.rabbit_url import RabbitAddress, parse_rabbit_url
from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource
from bgtop.testing import wait_until

LIMITS = {"connect_timeout": 2.0, "read_timeout": 5.0}


@contextmanager
def linked(url: str, **limits: float) -> Iterator[RabbitLink]:
    with closing(RabbitLink(parse_rabbit_url(url), **(LIMITS | limits))) as link:
        yield link


@pytest.fixture(autouse=True)
def _allowed(rabbit: RabbitVhost) -> None:
    rabbit.let_ask()


@contextmanager
def application(rabbit: RabbitVhost) -> Iterator[amqp.Channel]:
    """A channel of somebody who may do everything."""
    address = f"127.0.0.1:{rabbit.node.port}"
    with amqp.Connection(address, virtual_host=rabbit.name) as connection:
        yield connection.channel()


def refusal(url: str, **limits: float) -> BackendError:
    """The error of a question there; its words are fit for an operator and hold no password."""
    with linked(url, **limits) as link, pytest.raises(BackendError) as failed:
        link.sizes(["celery"])
    words = str(failed.value)
    assert words.isprintable()
    assert PASSWORD not in words
    return failed.value


def check(error: BackendError, kind: type[BackendError], words: str) -> None:
    assert (type(error), str(error)) == (kind, words)


# Questions


def fill(channel: amqp.Channel, name: str, count: int, **more: object) -> None:
    channel.confirm_select()
    channel.queue_declare(name, durable=True, auto_delete=False, **more)
    for _ in range(count):
        channel.basic_publish_confirm(amqp.Message("x"), routing_key=name)


@pytest.mark.parametrize("number", [1, 20, 300])
def test_all_queues_are_one_round_trip(rabbit, number) -> None:
    with application(rabbit) as channel, linked(rabbit.monitor_url) as link:
        names = [f"q{n}" for n in range(number)]
        for name in names[1:]:
            channel.queue_declare(name, durable=False, auto_delete=False, nowait=True)
        fill(channel, "q0", 3)
        link.sizes(["q0"])
        before = link.round_trips
        sizes = link.sizes(names)

        assert link.round_trips - before == 1
        assert len(sizes.found) == number
        assert sizes.found["q0"] == (3, 0)
        assert sizes.refused == {}


def test_missing_and_exclusive_queues_hide_nothing(rabbit) -> None:
    with application(rabbit) as channel, linked(rabbit.monitor_url) as link:
        for name in ("a", "b", "c"):
            fill(channel, name, 1)
        channel.queue_declare("mine", exclusive=True)
        doubtful = ["mine", "nobody", *(f"none-{n}" for n in range(150)), "c"]
        sizes = link.sizes(["a", "gone", "b", "mine"], doubtful)
        before = link.round_trips

        assert {name: size.ready for name, size in sizes.found.items()} == {"a": 1, "b": 1, "c": 1}
        assert sizes.refused["gone"].missing
        assert sizes.refused["nobody"].missing
        assert sizes.refused["mine"].exclusive
        assert len(sizes.refused) == 153
        # The link is as good as before.
        assert link.sizes(["a", "b"]).refused == {}
        assert link.round_trips - before == 1


@pytest.mark.parametrize("name", ["x" * 255, "x" * 256, "é" * 128, "\ud800", "\0", "a\nb", "%s"])
def test_any_name_can_be_asked_for(rabbit, name) -> None:
    with application(rabbit) as channel, linked(rabbit.monitor_url) as link:
        fill(channel, "a", 1)
        sizes = link.sizes(["a"], [name])

        assert sizes.found == {"a": (1, 0)}
        assert sizes.refused[name].missing
        assert link.logins == 1


def test_a_user_without_any_right_may_ask_or_is_refused_once(rabbit) -> None:
    """Each refusal is an error in the log of the broker, so one has to do."""
    rabbit.allow("mon", configure="^$", write="^$", read="^$")
    with application(rabbit) as channel, linked(rabbit.monitor_url) as link:
        fill(channel, "a", 2)
        fill(channel, "b", 1)
        sizes = link.sizes(["a", "b"])

    if rabbit.node.wants_rights:
        assert (sizes.forbidden, sizes.found, len(sizes.refused)) == ({"a"}, {}, 1)
    else:
        assert (sizes.forbidden, sizes.found) == (frozenset(), {"a": (2, 0), "b": (1, 0)})


def test_hundreds_of_polls_leave_no_channel_behind(rabbit) -> None:
    with linked(rabbit.monitor_url) as link:
        for _ in range(300):
            link.sizes([], [f"none-{n}" for n in range(10)])

        assert link.logins == 1


def test_a_broker_that_was_away_is_found_again(rabbit) -> None:
    """By one log-in; the suites for backends restart the node itself."""
    (port,) = quiet_ports(1)
    door = Door(port, rabbit.node.port)
    door.open()
    with linked(rabbit.monitor_url.replace(f":{door.target}/", f":{port}/")) as link:
        link.sizes(["a"])
        door.shut()
        with pytest.raises(Unreachable):
            link.sizes(["a"])
        door.open()
        link.sizes(["a"])

        assert link.logins == 2
    door.shut()


def test_we_take_leave(rabbit) -> None:
    """One snapshot a minute would else be one warning a minute in the log of the broker."""
    with linked(rabbit.monitor_url) as link:
        port = link.use(lambda connection: connection.sock.getsockname()[1])

    def told() -> list[str]:
        logs = "".join(path.read_text() for path in (rabbit.node.folder / "log").glob("*.log"))
        ends = [line for line in logs.splitlines() if "closing AMQP connection" in line]
        return [line for line in ends if f":{port} ->" in line]

    (line,) = wait_until(told, seconds=30, why="the broker tells the end of our connection")

    assert "[info]" in line


# Refusals


def test_nobody_listens() -> None:
    check(refusal("amqp://127.0.0.1:1"), Unreachable, "connection refused by 127.0.0.1:1")


def test_no_such_host() -> None:
    error = refusal("amqp://no-such-host.invalid")

    check(error, Unreachable, "the host name 'no-such-host.invalid' cannot be resolved")


def test_a_wrong_password(rabbit) -> None:
    place = f"127.0.0.1:{rabbit.node.port}"
    error = refusal(rabbit.monitor_url.replace(PASSWORD, PASSWORD + "x"))

    check(error, NotPermitted, f"{place} refused the password of user 'mon'")


def test_a_vhost_that_is_not_there(rabbit) -> None:
    place = f"127.0.0.1:{rabbit.node.port}"
    error = refusal(f"amqp://guest:guest@{place}/none%1b".replace("%1b", "%20x"))

    check(error, WrongSource, f"there is no vhost 'none x' at {place}")


def test_a_vhost_we_may_not_enter(rabbit) -> None:
    place = f"127.0.0.1:{rabbit.node.port}"
    error = refusal(f"amqp://mon:{PASSWORD}@{place}/")

    check(error, NotPermitted, f"{place} does not let user 'mon' into the vhost '/'")


@contextmanager
def server_that_says(answer: bytes, *, stays: bool) -> Iterator[int]:
    """A TCP server that says this, whoever comes, and then hangs up or stays."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                client.recv(65536)
                client.sendall(answer)
                if stays:
                    kept.append(client)
                else:
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for client in kept:
            client.close()


@pytest.mark.parametrize(
    ("answer", "stays", "words"),
    [
        (b"", True, "no AMQP answer from {place} within 0.5 s; is it RabbitMQ there?"),
        (b"", False, "{place} hung up at log-in; does it want amqps:// (TLS)?"),
        (b"AMQP\x01\x01\x00\x0a", False, "{place} hung up at log-in; does it want amqps:// (TLS)?"),
        (b"-ERR unknown command\r\n", True, "no AMQP answer from {place} within 0.5 s; is it "),
        (b"\x09\0\0\0\0\0\1x\xce", True, "{place} does not speak AMQP 0-9-1"),
        (b"\1\0\0\0\0\0\4\0\x63\0\x63\xce", True, "{place} "),
        (b"\1\0\0\0\0\0\1x\0", True, "{place} does not speak AMQP 0-9-1"),
        (b"\1\0\0\0\0\0\5\0\x0a\0\x0a\0\xce", True, "{place} does not speak AMQP 0-9-1"),
    ],
)
def test_something_else_listens_there(answer, stays, words) -> None:
    with server_that_says(answer, stays=stays) as port:
        error = refusal(f"amqp://127.0.0.1:{port}", connect_timeout=0.5, read_timeout=0.5)

    assert str(error).startswith(words.format(place=f"127.0.0.1:{port}"))


# The management API


def management_refusal(rabbit: RabbitVhost, more: str, vhost: str = "") -> BackendError:
    place = f"127.0.0.1:{rabbit.node.port}/{vhost or rabbit.quoted}"
    address = parse_rabbit_url(f"amqp://mon:{PASSWORD}@{place}?management={more}")
    error = refused_by(address)
    assert str(error).isprintable()
    assert PASSWORD not in str(error)
    return error


def refused_by(address: RabbitAddress) -> BackendError:
    assert address.management is not None
    with (
        closing(Management(address.management, address, read_timeout=1.0)) as management,
        pytest.raises(BackendError) as failed,
    ):
        management.queues()
    return failed.value


def test_the_api_says_who_may_not_see_it(rabbit) -> None:
    place = rabbit.management
    wrong = place.replace("//", "//mon:wrong@")

    assert type(management_refusal(rabbit, wrong)) is NotPermitted
    assert "refused user 'mon'" in str(management_refusal(rabbit, wrong))


def test_the_api_knows_no_such_vhost(rabbit) -> None:
    error = management_refusal(rabbit, rabbit.management, vhost="none")

    assert type(error) is WrongSource
    assert "knows no such vhost" in str(error)


def test_no_api_there(rabbit) -> None:
    error = management_refusal(rabbit, "http://127.0.0.1:1")

    check(error, Unreachable, "connection refused by http://127.0.0.1:1")


def test_what_is_no_web_server_is_no_api(rabbit) -> None:
    with server_that_says(b"AMQP\0\0\x09\1", stays=False) as port:
        error = management_refusal(rabbit, f"http://127.0.0.1:{port}")

    check(error, WrongSource, f"http://127.0.0.1:{port} does not speak HTTP")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "does not answer as RabbitMQ's management API"),
        (200, b"[" * 100_000, "does not answer as RabbitMQ's management API"),
        (200, b'{"a": 1}', "does not answer as RabbitMQ's management API"),
        (302, b"", "answered with HTTP status 302"),
        (403, b"", "does not let user 'mon' see this"),
        (500, b"", "answered with HTTP status 500"),
    ],
)
def test_another_web_server_is_there(rabbit, status, body, words) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        error = management_refusal(rabbit, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join(10)

    assert words in str(error)


def test_rows_of_no_sense_are_left_out(rabbit) -> None:
    body = b'[1, null, {"name":1}]'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server_that_says(head + body, stays=False) as port:
        address = parse_rabbit_url(f"amqp://h?management=http://127.0.0.1:{port}")
        assert address.management is not None
        with closing(Management(address.management, address)) as management:
            assert management.queues() == [{"name": 1}]
