"""Real Dramatiq on a real RabbitMQ; apart, as a Dramatiq for Redis is installed without pika."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq_cluster import DramatiqCluster
from rabbit_server import RabbitVhost


class DramatiqOnRabbit(DramatiqCluster):
    """One application in one vhost of RabbitMQ."""

    def __init__(self, rabbit: RabbitVhost, folder: Path) -> None:
        self.rabbit = rabbit
        self.url = rabbit.url
        self.folder = folder
        self.namespace = ""
        self.broker = RabbitmqBroker(url=rabbit.url, confirm_delivery=True)
        self._workers = {}

    def _give_back(self, consumer: Any, taken: list[Any]) -> None:
        """Its channel closes, and the broker puts back what was taken."""
        consumer.close()

    def members(self) -> set[str]:
        """All consumers, by the names of their connections."""
        found = self.rabbit.node.get(f"/consumers/{self.rabbit.quoted}")
        # Of a consumer whose channel is gone the details are an empty list.
        return {
            row["channel_details"]["connection_name"] for row in found if row["channel_details"]
        }

    def forget_producer(self) -> None:
        """Nothing to do: on RabbitMQ who only sends is no consumer."""

    def _disconnect(self) -> None:
        self.broker.close()
