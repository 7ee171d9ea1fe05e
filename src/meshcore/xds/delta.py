"""Delta discovery without I/O: what one client asks for of one type, and what it holds (XDS-13 to
XDS-16). It outlives the streams that its messages go over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshcore.config.load import load
from meshcore.errors import ConfigError

__all__ = ["DeltaState", "Resource", "Update"]

# Messages are envoy.service.discovery.v3.DeltaDiscoveryRequest and DeltaDiscoveryResponse of the
# schema's private pool; their classes are made when something first needs them.
Message = Any

REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
TYPE_PREFIX = "type.googleapis.com/"
EVERYTHING = "*"
INTERNAL = 13  # google.rpc.Code
MOST_OF_A_REASON = 4096


@dataclass(frozen=True, slots=True)
class Resource:
    name: str
    version: str
    aliases: tuple[str, ...]
    body: dict[str, Any] | None  # in canonical form; None: nothing is behind these names


@dataclass(frozen=True, slots=True)
class Update:
    """What a response changes; without those of its resources that are only said to live on."""

    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]


def read_body(name: str, type_name: str, body: Message) -> dict[str, Any]:
    """What an Any holds, in canonical form. Raises ConfigError."""
    from google.protobuf.message import DecodeError

    from meshcore.config.schema import message_class

    try:
        return load(message_class(type_name).FromString(body.value), type=type_name).document
    except DecodeError:
        raise ConfigError(f"resource {name}", f"is no serialized {type_name}") from None
    except ConfigError as error:
        path = f"resource {name}: {error.path}" if error.path else f"resource {name}"
        raise ConfigError(path, error.reason) from None


class DeltaState:
    """Interest in resources of one type. Without names at first it is in everything, and then in
    what is named besides (XDS-16)."""

    def __init__(self, type_name: str, node: Message, names: Iterable[str] = ()) -> None:
        self._type_url = TYPE_PREFIX + type_name
        self._node = node
        # By name, the version that is held; None: none.
        self._wanted: dict[str, str | None] = dict.fromkeys(names)
        self._silent = not self._wanted  # nothing was ever named: everything is meant
        self._others: dict[str, str] = {}  # held because everything is wanted
        self._fresh = set(self._wanted)
        self._opened = False

    def subscribe(self, names: Iterable[str]) -> None:
        """Also to what is held: the server is to tell it again (XDS-15)."""
        for name in names:
            if self._silent:
                self._silent = False
                self._wanted[EVERYTHING] = None
            self._wanted[name] = self._others.pop(name, None)
            self._fresh.add(name)

    def reopen(self) -> None:
        """What is sent next goes over a new stream, perhaps to another server."""
        self._opened = False

    @property
    def due(self) -> bool:
        """Whether there is something to ask for."""
        return not self._opened or bool(self._fresh)

    def request(self) -> Message:
        """The next one that asks for something; the first of a stream tells all (XDS-14)."""
        request = self._message()
        if not self._opened:
            self._begin(request)
        request.resource_names_subscribe.extend(sorted(self._fresh))
        self._fresh.clear()
        return request

    def _begin(self, request: Message) -> None:
        self._opened = True
        held = {name: version for name, version in self._wanted.items() if version is not None}
        request.initial_resource_versions.update({**self._others, **held})
        self._fresh = set(self._wanted)

    def acknowledge(self, nonce: str, refused: str = "") -> Message:
        """ACK; with a reason it is a NACK."""
        request = self._message()
        request.response_nonce = nonce
        if refused:
            request.error_detail.code = INTERNAL
            cut = len(refused) > MOST_OF_A_REASON
            request.error_detail.message = (
                f"{refused[:MOST_OF_A_REASON]}...(truncated)" if cut else refused
            )
        return request

    def _message(self) -> Message:
        from meshcore.config.schema import message_class

        request: Message = message_class(REQUEST)()
        request.type_url = self._type_url
        request.node.CopyFrom(self._node)
        return request

    def read(self, response: Message) -> Update:
        """:raises ValueError: a response that no client takes; a ConfigError names the field."""
        if response.type_url != self._type_url:
            raise ValueError(f"the response is of {response.type_url}, not {self._type_url}")
        seen: set[str] = set()
        resources = []
        for each in response.resources:
            if each.name in seen:
                raise ValueError(f"duplicate name {each.name} found among added/updated resources")
            seen.add(each.name)
            if self._lives_on(each):
                continue
            resources.append(
                Resource(each.name, each.version, tuple(each.aliases), self._body(each))
            )
        for name in response.removed_resources:
            if name in seen:
                raise ValueError(
                    f"duplicate name {name} found in the union of added+removed resources"
                )
            seen.add(name)
        removed = tuple(response.removed_resources)
        return Update(response.system_version_info, tuple(resources), removed)

    def _body(self, resource: Message) -> dict[str, Any] | None:
        if not resource.HasField("resource") and resource.aliases:
            return None
        found = resource.resource.type_url
        if found != self._type_url:
            reason = f"type URL {found} does not match {self._type_url}"
            raise ConfigError(f"resource {resource.name}", reason)
        return read_body(resource.name, self._type_url.removeprefix(TYPE_PREFIX), resource.resource)

    def _lives_on(self, resource: Message) -> bool:
        """XDS-18: no body, and the version that is held."""
        held = self._wanted.get(resource.name, self._others.get(resource.name))
        return not resource.HasField("resource") and resource.version == held

    def accept(self, update: Update) -> None:
        """It was taken: these versions are held from now on."""
        for each in update.resources:
            held = self._wanted if each.name in self._wanted else self._others
            held[each.name] = each.version
        for name in update.removed:
            self._others.pop(name, None)
            if name in self._wanted:
                self._wanted[name] = None
