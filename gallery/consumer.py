"""Huey with one thing added: its tasks can see that the consumer was told to stop."""

from threading import Event
from typing import Any

from huey import SqliteHuey
from huey.consumer import Consumer


class Queue(SqliteHuey):
    """`stopping` is set from the moment a consumer of this process is told to stop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stopping = Event()

    def create_consumer(self, **options: Any) -> Consumer:
        consumer = super().create_consumer(**options)
        self.stopping = consumer.stop_flag
        return consumer
