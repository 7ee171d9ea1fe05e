"""A gateway inside a running asyncio loop, with no thread of its own (uvloop works too)."""

import asyncio

from config import proxy_to
from upstream import start

import meshcore


async def fetch(host: str, port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: example\r\nconnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return f"{answer.splitlines()[0]} {answer.splitlines()[-1]}"


async def main() -> None:
    _, port = start()
    gateway = meshcore.Gateway(proxy_to(port), workers=0)
    serving = asyncio.ensure_future(gateway.serve())
    while not gateway.running:
        await asyncio.sleep(0)
    host, listening = gateway.listeners["main"]
    print(await asyncio.gather(*(fetch(host, listening, f"/{n}") for n in range(3))))
    await gateway.drain_async(5)
    gateway.stop()
    await serving


if __name__ == "__main__":
    asyncio.run(main())
