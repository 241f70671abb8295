"""A small real backend inside the test's own process, which answers prompts as the test says."""

import threading
from collections.abc import Iterator
from concurrent import futures

import grpc

from models.backend.proto import backend_pb2, backend_pb2_grpc


class AnsweringBackend(backend_pb2_grpc.BackendServicer):
    """Answers with `pieces`; then breaks when `breaks` says why, or says nothing more when it is `endless`."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = [b"one ", b"two ", b"three"]
        self.breaks = ""
        self.endless = False
        self.asked: list[backend_pb2.PredictOptions] = []
        self.let_go = threading.Event()
        self.memory: backend_pb2.MemoryUsageData | None = None
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        backend_pb2_grpc.add_BackendServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self.let_go.set()
        self._server.stop(0).wait(5)

    def PredictStream(self, request, context) -> Iterator[backend_pb2.Reply]:
        self.asked.append(request)
        context.add_callback(self.let_go.set)
        for count, piece in enumerate(self.pieces, 1):
            yield backend_pb2.Reply(message=piece, tokens=count, prompt_tokens=5)
        if self.breaks:
            context.abort(grpc.StatusCode.INTERNAL, self.breaks)
        if self.endless:
            self.let_go.wait(30)

    def Status(self, request, context) -> backend_pb2.StatusResponse:
        if self.memory is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")
        return backend_pb2.StatusResponse(state=backend_pb2.StatusResponse.READY, memory=self.memory)
