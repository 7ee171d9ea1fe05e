"""Policy in Python: a plain filter that refuses, and a coroutine that looks something up."""

import asyncio
import urllib.error
import urllib.request

from config import proxy_to
from upstream import start

import meshcore

PLANS = {"ada": "gold", "bob": "free"}


@meshcore.http_filter("needs_user")
def needs_user(request):
    if "x-user" not in request.headers:
        return meshcore.Response(401, body="who are you?\n")
    return None


@meshcore.http_filter("plan")
class Plan:
    def __init__(self, header: str = "x-plan") -> None:
        self.header = header

    async def on_request_headers(self, request):
        await asyncio.sleep(0.01)  # a database, say: only this request waits
        request.headers[self.header] = PLANS.get(request.headers["x-user"], "none")

    def on_response_headers(self, request, response):
        response["x-served-plan"] = request.headers.get(self.header, "none")


def main() -> None:
    _, port = start()
    struct = "type.googleapis.com/google.protobuf.Struct"
    config = proxy_to(
        port,
        {"name": "needs_user", "typed_config": {"@type": struct}},
        {"name": "plan", "typed_config": {"@type": struct, "value": {"header": "x-customer-plan"}}},
    )
    with meshcore.Gateway(config, workers=1) as gateway:
        host, listening = gateway.listeners["main"]
        url = f"http://{host}:{listening}/"
        try:
            urllib.request.urlopen(url)
        except urllib.error.HTTPError as refused:
            print(refused.code, refused.read().decode().strip())
        request = urllib.request.Request(url, headers={"x-user": "ada"})
        with urllib.request.urlopen(request) as response:
            print(response.status, response.headers["x-served-plan"])


if __name__ == "__main__":
    main()
