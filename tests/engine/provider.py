"""A Pulumi resource provider over any Backend, served by gRPC from this process; it can be told to fail, and says what it did.

Only the engine's protocol and its traps stand here; what a resource is belongs to the backend.
"""

import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]  # no types are installed
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # no types are installed
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.engine.backend import Backend, Previews, Refused
from tests.engine.faults import Faults
from tests.engine.wire import known, parts, plain, setting, struct

# More than the engine's own parallelism (8), so that a call never waits for a thread.
THREADS = 32


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The calls that the engine makes of an attached provider; never GetSchema or GetMapping.

    The instances of one provider share this servicer once attached: only the connection tells them apart.
    """

    def __init__(self, backend: Backend, faults: Faults) -> None:
        self.backend = backend
        self.faults = faults

    def Handshake(self, request: Any, context: Any) -> Any:
        # Values then arrive plain, but for unknowns: neither secrets nor references are wrapped.
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=False, accept_resources=False, accept_outputs=False)

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="0.0.0")

    def Cancel(self, request: Any, context: Any) -> Any:
        # Comes after every operation, not only to stop one: what runs is let run to its end.
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        old, new = plain(request.old_inputs), plain(request.news)
        return _answer(tuple(sorted(key for key in {*old, *new} if old.get(key) != new.get(key))), (), False)

    def Configure(self, request: Any, context: Any) -> Any:
        settings = {key: setting(value) for key, value in plain(request.args).items()}
        with refusals(context):
            self.backend.configure(context.peer(), settings)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=False, supportsPreview=True, acceptResources=False, acceptOutputs=False
        )

    def Check(self, request: Any, context: Any) -> Any:
        _, kind, name = parts(request.urn)
        old = plain(request.olds) if request.HasField("olds") else None
        with refusals(context):
            inputs, failures = self.backend.check(kind, name, plain(request.news), old, context.peer())
            return provider_pb2.CheckResponse(
                inputs=struct(inputs),
                failures=[provider_pb2.CheckFailure(property=key, reason=reason) for key, reason in failures],
            )

    def Diff(self, request: Any, context: Any) -> Any:
        _, kind, _ = parts(request.urn)
        with refusals(context):
            # Old inputs, not state: what the API added of its own is no change.
            found = self.backend.diff(kind, request.id, plain(request.old_inputs), plain(request.news), context.peer())
            return _answer(found.changes, found.replaces, found.delete_before_replace)

    def Create(self, request: Any, context: Any) -> Any:
        _, kind, _ = parts(request.urn)
        inputs = plain(request.properties)
        with refusals(context):
            if request.preview:
                return provider_pb2.CreateResponse(properties=struct(self._preview_create(kind, request.urn, inputs, context)))
            with self.faults.around("create", request.urn):
                found = self.backend.create(kind, request.urn, inputs, context.peer())
            return provider_pb2.CreateResponse(id=found.id, properties=struct(found.outputs))

    def Read(self, request: Any, context: Any) -> Any:
        _, kind, _ = parts(request.urn)
        inputs = plain(request.inputs) or None
        with refusals(context):
            with self.faults.around("read", request.urn):
                found = self.backend.read(kind, request.id, context.peer(), inputs)
            if found is None:
                return provider_pb2.ReadResponse(id="")
            return provider_pb2.ReadResponse(id=found.id, properties=struct(found.outputs), inputs=struct(found.inputs))

    def Update(self, request: Any, context: Any) -> Any:
        _, kind, _ = parts(request.urn)
        old, new, state = plain(request.old_inputs), plain(request.news), plain(request.olds)
        with refusals(context):
            if request.preview:
                tried = None
                if isinstance(self.backend, Previews) and known(new):
                    tried = self.backend.preview_update(kind, request.id, old, new, context.peer())
                # What was computed stays as it was: an ARN that became unknown would seem to replace all that uses it.
                return provider_pb2.UpdateResponse(properties=struct({**state, **new} if tried is None else tried))
            with self.faults.around("update", request.urn):
                outputs = self.backend.update(kind, request.id, old, new, context.peer())
            return provider_pb2.UpdateResponse(properties=struct(outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        _, kind, _ = parts(request.urn)
        with refusals(context), self.faults.around("delete", request.urn):
            self.backend.delete(kind, request.id, plain(request.properties), context.peer())
        return empty_pb2.Empty()

    def Construct(self, request: Any, context: Any) -> Any:
        _abort(context, f"{request.type} is made by its provider from a chart or a file; the engine tier does not serve that")

    def Invoke(self, request: Any, context: Any) -> Any:
        with refusals(context):
            answer = provider_pb2.InvokeResponse()
            getattr(answer, "return").CopyFrom(struct(self.backend.invoke(request.tok, plain(request.args), context.peer())))
            return answer

    def _preview_create(self, kind: str, urn: str, inputs: dict[str, Any], context: Any) -> dict[str, Any]:
        if isinstance(self.backend, Previews) and known(inputs):
            tried = self.backend.preview_create(kind, urn, inputs, context.peer())
            if tried is not None:
                return tried
        # Outputs that are missing here are unknown to the program on a preview.
        return inputs


@contextmanager
def serve(backend: Backend, faults: Faults | None = None) -> Iterator[int]:
    """A provider over `backend` on a free port of 127.0.0.1, to name in PULUMI_DEBUG_PROVIDERS as `package:PORT`."""
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.max_receive_message_length", -1)])
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(backend, faults or Faults()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None).wait()


def _answer(changes: tuple[str, ...], replaces: tuple[str, ...], delete_first: bool) -> Any:
    answer = provider_pb2.DiffResponse
    return answer(
        changes=answer.DIFF_SOME if changes else answer.DIFF_NONE,
        diffs=list(changes),
        replaces=list(replaces),
        deleteBeforeReplace=delete_first,
    )


@contextmanager
def refusals(context: Any) -> Iterator[None]:
    """A backend's exception becomes the resource's error; one that is no refusal keeps its traceback, for it is a bug here."""
    try:
        yield
    except Refused as error:
        _abort(context, str(error))
    except Exception as error:
        _abort(context, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")


def _abort(context: Any, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort raises")
