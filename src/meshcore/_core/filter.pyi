import asyncio
from collections.abc import Callable
from typing import Any, final

@final
class Binding:
    loop: asyncio.AbstractEventLoop | None
    def __new__(
        cls,
        on_request: Callable[..., Any] | None,
        on_response: Callable[..., Any] | None,
        loop: asyncio.AbstractEventLoop | None = ...,
    ) -> Binding: ...
