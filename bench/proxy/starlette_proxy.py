"""A reverse proxy as one writes it with Starlette, uvicorn and httpx: `... PORT ORIGIN_PORT`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def end_to_end(raw: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    pairs = [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in raw]
    return [(n, v) for n, v in pairs if n not in HOP_BY_HOP]


async def forward(request: Request) -> StreamingResponse:
    client: httpx.AsyncClient = request.app.state.client
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    upstream = await client.send(
        client.build_request(
            request.method,
            request.url.path,
            params=request.url.query or None,
            headers=end_to_end(request.headers.raw),
            content=request.stream() if has_body else None,
        ),
        stream=True,
    )
    return StreamingResponse(
        upstream.aiter_raw(),
        status_code=upstream.status_code,
        headers=dict(end_to_end(upstream.headers.raw)),
        background=BackgroundTask(upstream.aclose),
    )


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
    origin = f"http://127.0.0.1:{sys.argv[2]}"
    async with httpx.AsyncClient(base_url=origin, limits=limits) as app.state.client:
        yield


def main() -> None:
    app = Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)], lifespan=lifespan)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=3600,
    )


if __name__ == "__main__":
    main()
