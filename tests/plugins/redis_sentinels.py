"""A real master with its replica, watched by three real Sentinels."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from bgtop.testing import wait_until

MASTER = "jobs"

_CONFIG = """\
{login}
sentinel monitor {master} 127.0.0.1 {server} 2
sentinel down-after-milliseconds {master} 2000
sentinel failover-timeout {master} 4000
{server_login}
"""


class Sentinels:
    """Three Sentinels that know ``MASTER``; passwords of theirs and of the servers if given."""

    def __init__(
        self,
        folder: Path,
        make_redis: Callable[..., Any],
        password: str = "",
        own_password: str = "",
    ) -> None:
        login = ("--requirepass", password, "--masterauth", password) if password else ()
        self.master = make_redis(*login)
        # A replica of the master, which one after a failover has to be.
        self.replica = make_redis(*login, "--replicaof", f"127.0.0.1 {self.master.port}")
        self.password, self.own_password = password, own_password
        self._servers = []
        for number in range(3):
            config = folder / f"sentinel-{number}.conf"
            config.write_text(
                _CONFIG.format(
                    master=MASTER,
                    server=self.master.port,
                    login=f"requirepass {own_password}" if own_password else "",
                    server_login=f"sentinel auth-pass {MASTER} {password}" if password else "",
                )
            )
            self._servers.append(make_redis(str(config), "--sentinel"))
        self.ports = [server.port for server in self._servers]
        wait_until(self._agreed, seconds=20, why="the Sentinels know each other and the replica")

    def _agreed(self) -> bool:
        return all(self._knows_all(port) for port in self.ports)

    def _knows_all(self, port: int) -> bool:
        with self.client(port) as client:
            try:
                state = client.sentinel_master(MASTER)
            except redis.RedisError:
                return False
        return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1

    def client(self, port: int) -> redis.Redis:
        """A client of one Sentinel."""
        return redis.Redis(port=port, password=self.own_password or None, decode_responses=True)

    def master_port(self) -> int:
        """Whom the first living Sentinel takes for the master."""
        with self.client(self.ports[-1]) as client:
            return int(client.sentinel_get_master_addr_by_name(MASTER)[1])

    def url(self, *ports: int, master: str = MASTER) -> str:
        """The address of the group, by all Sentinels or by these."""
        places = ",".join(f"127.0.0.1:{port}" for port in ports or self.ports)
        login = f":{self.password}@" if self.password else ""
        own = f"&sentinel_password={self.own_password}" if self.own_password else ""
        return f"sentinel://{login}{places}/0?master={master}{own}"

    def pause(self, port: int) -> None:
        """Let this Sentinel accept connections, and say nothing."""
        for server in self._servers:
            if server.port == port:
                server.send_signal(signal.SIGSTOP)

    def stop(self, *ports: int) -> None:
        """Kill these Sentinels."""
        for server in self._servers:
            if server.port in ports:
                server.stop()
