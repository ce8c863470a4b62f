"""Streams that wait, whose clients go away or read slowly, and what they leave behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

from service.engine.engine import Engine
from tests.service.stream_client import OpenRequest, SteppedBackend, of_kind, stepped_app, until

GREEDY = {"text": "a dog ran", "beam_size": 1, "min_decoding_length": 40, "max_decoding_length": 40}


def engine_of(app: object) -> Engine:
    engine: Engine = app.state.service.models.engines["tiny"]  # type: ignore[attr-defined]
    return engine


async def start(app: object, backend: SteppedBackend, **options: object) -> OpenRequest:
    """A stream of which the first event has come; the engine waits in the second step."""
    request = OpenRequest(app, GREEDY | options)
    backend.allow(1)
    await until(lambda: bool(request.events))
    return request


def test_rows_are_free_at_the_step_after_the_client_has_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            request = await start(app, backend, beam_size=4)
            engine = engine_of(app)
            assert engine.work_done.live_rows > 0
            sentences = engine.work_done.sentences
            request.leave()
            await request.done
            backend.allow(1)  # the step that was under way
            await until(lambda: engine.work_done.live_rows == 0)
            await asyncio.sleep(0.02)
            assert (engine.work_done.sentences, engine.queue_length) == (sentences, 0)
            assert backend.steps <= 2
            assert request.events[-1][0] != "error"

    asyncio.run(test())


def test_a_client_that_goes_while_it_waits_leaves_the_queue_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path, max_live_rows=1) as (app, backend):
            first, engine = await start(app, backend), engine_of(app)
            waiting = OpenRequest(app, GREEDY | {"text": "The cat sat. We like tea."})
            await until(lambda: engine.queue_length == 2)
            waiting.leave()
            await waiting.done
            assert engine.queue_length == 0
            assert waiting.status == 499  # nobody reads it
            backend.allow()
            await first.done
            assert first.events[-1][0] == "done"
            await until(lambda: engine.work_done.live_rows == 0)  # noted after the answer

    asyncio.run(test())


def test_waiting_too_long_and_a_full_queue_are_ordinary_problems(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path, max_live_rows=1, max_queue=1, max_queue_wait_s=0.5) as (app, backend):
            first = await start(app, backend)
            waiting, refused = OpenRequest(app, GREEDY), OpenRequest(app, GREEDY)
            for request, detail in ((refused, "Too many sentences"), (waiting, "waited too long")):
                await request.done
                assert request.status == 503
                assert request.problem["type"] == "urn:interlinear:problem:overloaded"
                assert detail in request.problem["detail"]
                assert int(request.headers["retry-after"]) >= 1
            backend.allow()
            await first.done

    asyncio.run(test())


def test_a_slow_reader_keeps_nobody_waiting_and_misses_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            slow, engine = await start(app, backend), engine_of(app)
            slow.reads.clear()
            sentences = engine.work_done.sentences
            backend.allow()
            await until(lambda: engine.work_done.sentences == sentences + 1)
            other = OpenRequest(app, GREEDY)
            await other.done
            assert other.events[-1][0] == "done"
            assert len(of_kind(slow.events, "token")) < 40
            assert not slow.done.done()
            slow.reads.set()
            await slow.done
            assert of_kind(slow.events, "token") == of_kind(other.events, "token")
            assert slow.events[-1] == other.events[-1]

    asyncio.run(test())


def test_a_slow_reader_that_goes_away_is_let_go(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            slow = await start(app, backend)
            slow.reads.clear()
            backend.allow(3)
            await until(lambda: backend.steps >= 3)
            slow.leave()
            async with asyncio.timeout(5):
                await slow.done

    asyncio.run(test())


def test_a_stream_under_way_ends_properly_when_the_service_stops(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            finishing = await start(app, backend)
            backend.allow()
        await finishing.done
        assert finishing.events[-1][0] == "done"

    asyncio.run(test())


def test_a_stream_that_cannot_end_in_time_says_so_when_the_service_stops(tmp_path: Path) -> None:
    async def test() -> None:
        stopping = asyncio.Event()

        async def serve() -> None:
            async with stepped_app(tmp_path, shutdown_timeout_s=0.1) as (app, backend):
                requests.append(await start(app, backend))
                stopping.set()
                backends.append(backend)
                backend.allow = lambda steps=0: None  # type: ignore[method-assign]  # it hangs

        requests: list[OpenRequest] = []
        backends: list[SteppedBackend] = []
        serving = asyncio.create_task(serve())
        await stopping.wait()
        await requests[0].done
        assert requests[0].events[-1][1]["type"] == "urn:interlinear:problem:shutting-down"
        SteppedBackend.allow(backends[0])
        await serving

    asyncio.run(test())


def test_a_cancelled_stream_tells_its_client(tmp_path: Path) -> None:
    async def test() -> None:
        async with stepped_app(tmp_path) as (app, backend):
            request = await start(app, backend)
            request.done.cancel()  # as the server does when its time to drain is up
            await request.done
            assert request.events[-1][0] == "error"
            assert request.events[-1][1]["type"] == "urn:interlinear:problem:shutting-down"

    asyncio.run(test())
