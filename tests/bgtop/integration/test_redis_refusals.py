"""What an operator is told when a server cannot be read, for every state of a real one."""

from __future__ import annotations

import http.server
import threading

import pytest
import redis
from old_redis import old_redis
from redis_checks import PASSWORD, QUOTED, check, linked, refusal

from bgtop.backends.redis_link import pack
from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource


def test_nobody_listens() -> None:
    check(refusal("redis://127.0.0.1:1/0"), Unreachable, "connection refused by 127.0.0.1:1")


def test_no_such_host() -> None:
    error = refusal("redis://no-such-host.invalid/0")

    check(error, Unreachable, "the host name 'no-such-host.invalid' cannot be resolved")


def test_a_host_name_no_resolver_takes() -> None:
    place = "ü" * 70

    check(refusal(f"redis://{place}.y/0"), Unreachable, f"{place}.y:6379 is no valid host name")


def test_no_such_socket(tmp_path) -> None:
    path = tmp_path / "none.sock"

    check(refusal(f"redis+socket://{path}"), Unreachable, f"there is no socket {path}")


def test_no_password_where_one_is_needed(make_redis) -> None:
    server = make_redis("--requirepass", PASSWORD)

    check(refusal(server.url), NotPermitted, f"127.0.0.1:{server.port} asks for a password")


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (f":{QUOTED}x", "refused the password"),
        (f"mon:{QUOTED}", "refused the password of user 'mon'"),
    ],
)
def test_a_wrong_password(make_redis, login, words) -> None:
    server = make_redis("--requirepass", PASSWORD)
    error = refusal(f"redis://{login}@127.0.0.1:{server.port}/0")

    check(error, NotPermitted, f"127.0.0.1:{server.port} {words}")


def test_a_password_nobody_asked_for(redis_server) -> None:
    error = refusal(f"redis://:{QUOTED}@127.0.0.1:{redis_server.port}/0")
    place = f"127.0.0.1:{redis_server.port}"

    check(error, NotPermitted, f"{place} refused the password: none is set there")


def test_no_such_database(redis_server) -> None:
    error = refusal(f"redis://127.0.0.1:{redis_server.port}/99")

    check(error, WrongSource, f"127.0.0.1:{redis_server.port} has no database 99")


def test_a_database_one_may_not_choose(make_redis) -> None:
    server = make_redis("--user", "mon", "on", ">hunter2", "~*", "+@read", "+auth")
    error = refusal(f"redis://mon:hunter2@127.0.0.1:{server.port}/2")

    place = f"127.0.0.1:{server.port}"
    check(error, NotPermitted, f"{place} does not let us choose database 2")


def test_a_full_server(make_redis) -> None:
    server = make_redis("--maxclients", "1")
    with redis.Redis(port=server.port) as other:
        other.ping()
        error = refusal(server.url)

    place = f"127.0.0.1:{server.port}"
    check(error, Unreachable, f"{place} accepts no further connection (maxclients)")


def test_a_server_still_loading(make_redis) -> None:
    server = make_redis()
    with redis.Redis(port=server.port) as client:
        client.mset({f"key{number}": "x" * 100 for number in range(2_000)})
        client.save()
    server.stop()
    # 20 s of loading, answering questions all the while.
    server.start("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")

    check(refusal(server.url), Unreachable, f"127.0.0.1:{server.port} is still loading its data")


def test_a_replica_without_master(make_redis) -> None:
    server = make_redis("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
    error = refusal_of(server.url, ("LLEN", "a"))

    place = f"127.0.0.1:{server.port}"
    check(error, Unreachable, f"{place} is a replica that has lost its master")


def refusal_of(url: str, command: tuple[str, ...]) -> BackendError:
    with linked(url) as link, pytest.raises(BackendError) as failed:
        link.exchange(pack(command))
    return failed.value


def test_a_cluster_node(make_redis) -> None:
    server = make_redis("--cluster-enabled", "yes")
    place = f"127.0.0.1:{server.port}"
    words = f"{place} is a Redis Cluster; none of these job systems can use one"

    check(refusal(server.url), WrongSource, words)


def test_a_sentinel(make_redis, tmp_path) -> None:
    config = tmp_path / "sentinel.conf"
    config.touch()
    server = make_redis(str(config), "--sentinel")
    place = f"127.0.0.1:{server.port}"

    words = f"{place} is a Sentinel, which holds no data: sentinel://…?master=NAME asks it"
    check(refusal(server.url), WrongSource, words)


def test_a_server_older_than_users() -> None:
    with old_redis() as port:
        error = refusal(f"redis://mon:{QUOTED}@127.0.0.1:{port}/0")

    words = f"127.0.0.1:{port} knows no users: it is older than Redis 6, take the name out"
    check(error, NotPermitted, words)


def test_another_protocol() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        port = server.server_address[1]
        error = refusal(f"redis://127.0.0.1:{port}/0")
        server.shutdown()
        thread.join()

    check(error, WrongSource, f"127.0.0.1:{port} does not speak the Redis protocol")
