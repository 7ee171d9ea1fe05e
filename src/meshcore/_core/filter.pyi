import asyncio
from collections.abc import Callable
from typing import Any

class Binding:
    loop: asyncio.AbstractEventLoop | None
    def __init__(
        self,
        on_request: Callable[..., Any] | None,
        on_response: Callable[..., Any] | None,
        loop: asyncio.AbstractEventLoop | None = ...,
    ) -> None: ...
