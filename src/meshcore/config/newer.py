"""Fields and rules that Envoy has and the pinned descriptors have not yet, and rules that it has no
longer: added and dropped when the schema is read.

A line is the message, then its field: number, name, type. A message that is not there is made. When
the pin moves past one of these, `apply` says so and the line can go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor_pb2 import (
        DescriptorProto,
        FieldDescriptorProto,
        FileDescriptorProto,
    )

__all__ = ["apply"]

_ROUTE = "envoy/config/route/v3/route_components.proto"
_ROUTES = "envoy.config.route.v3"
_HCM = "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto"
_TAGGING = "envoy/extensions/filters/http/ip_tagging/v3/ip_tagging.proto"
_OTEL_LOG = "envoy/extensions/access_loggers/open_telemetry/v3/logs_service.proto"

# By file: what it must import besides, and the lines.
_NEWER: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    _ROUTE: (
        ("envoy/type/matcher/v3/address.proto", "envoy/type/v3/ratelimit_unit.proto"),
        """
        CookieMatcher                       1 name             string
        CookieMatcher                       2 string_match     .envoy.type.matcher.v3.StringMatcher
        CookieMatcher                       3 invert_match     bool
        RouteMatch                         17 cookies          *.envoy.config.route.v3.CookieMatcher
        RedirectAction                      10 path_rewrite     string path_rewrite_specifier
        RateLimit                            7 x_ratelimit_option \
=.envoy.config.route.v3.RateLimit.XRateLimitOption
        RateLimit.HitsAddend                 3 is_negative_hits bool
        RateLimit.Override.RateLimitOverride 1 requests_per_unit uint32
        RateLimit.Override.RateLimitOverride 2 unit             =.envoy.type.v3.RateLimitUnit
        RateLimit.Override                   2 rate_limit       \
.envoy.config.route.v3.RateLimit.Override.RateLimitOverride override_specifier
        RateLimit.Action.GenericKey          3 default_value    string
        RateLimit.Action.HeaderValueMatch    5 default_value    string
        RateLimit.Action.QueryParameterValueMatch 5 default_value string
        RateLimit.Action.RemoteAddressMatch  1 descriptor_value string
        RateLimit.Action.RemoteAddressMatch  2 descriptor_key   string
        RateLimit.Action.RemoteAddressMatch  3 default_value    string
        RateLimit.Action.RemoteAddressMatch 4 address_matcher .envoy.type.matcher.v3.AddressMatcher
        RateLimit.Action                    13 remote_address_match \
.envoy.config.route.v3.RateLimit.Action.RemoteAddressMatch action_specifier
        """,
    ),
    "envoy/config/cluster/v3/circuit_breaker.proto": (
        ("google/protobuf/duration.proto",),
        "CircuitBreakers.Thresholds.RetryBudget 3 budget_interval .google.protobuf.Duration",
    ),
    "envoy/config/cluster/v3/outlier_detection.proto": (
        (),
        "OutlierDetection 26 detect_degraded_hosts .google.protobuf.BoolValue",
    ),
    "envoy/extensions/filters/http/router/v3/router.proto": (
        (),
        "Router 10 reject_connect_request_early_data .google.protobuf.BoolValue",
    ),
    "envoy/config/overload/v3/overload.proto": (
        (),
        """
        ShrinkHeapConfig 1 timer_interval           .google.protobuf.Duration
        ShrinkHeapConfig 2 max_unfreed_memory_bytes uint64
        """,
    ),
    _HCM: (
        ("envoy/type/v3/percent.proto",),
        """
        HttpConnectionManager.Tracing 13 no_context_propagation bool
        ForwardProtoConfig             1 https_destination_ports *uint32
        ForwardProtoConfig             2 http_destination_ports  *uint32
        HttpConnectionManager         61 forward_proto_config \
.envoy.extensions.filters.network.http_connection_manager.v3.ForwardProtoConfig
        HttpConnectionManager         62 drain_timeout_jitter   .envoy.type.v3.Percent
        """,
    ),
    "envoy/config/core/v3/protocol.proto": (
        ("envoy/type/v3/percent.proto",),
        "HttpProtocolOptions 8 max_connection_duration_jitter .envoy.type.v3.Percent",
    ),
    _OTEL_LOG: (
        (
            "envoy/config/core/v3/grpc_service.proto",
            "envoy/config/core/v3/http_service.proto",
            "envoy/type/tracing/v3/custom_tag.proto",
            "google/protobuf/duration.proto",
            "google/protobuf/wrappers.proto",
        ),
        """
        OpenTelemetryAccessLogConfig  8 http_service          .envoy.config.core.v3.HttpService
        OpenTelemetryAccessLogConfig  9 grpc_service          .envoy.config.core.v3.GrpcService
        OpenTelemetryAccessLogConfig 10 log_name              string
        OpenTelemetryAccessLogConfig 11 buffer_flush_interval .google.protobuf.Duration
        OpenTelemetryAccessLogConfig 12 buffer_size_bytes     .google.protobuf.UInt32Value
        OpenTelemetryAccessLogConfig 13 filter_state_objects_to_log *string
        OpenTelemetryAccessLogConfig 14 custom_tags *.envoy.type.tracing.v3.CustomTag
        """,
    ),
    "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.proto": (
        (),
        "CaresDnsResolverConfig 12 qcache_max_ttl .google.protobuf.UInt32Value",
    ),
    "envoy/config/trace/v3/zipkin.proto": ((), "ZipkinConfig 10 timestamp_trace_ids bool"),
    "envoy/config/trace/v3/opentelemetry.proto": (
        ("google/protobuf/wrappers.proto",),
        """
        OpenTelemetryConfig 7 set_telemetry_sdk_resource_attributes .google.protobuf.BoolValue
        OpenTelemetryConfig 8 set_service_name_resource_attribute   .google.protobuf.BoolValue
        """,
    ),
    "envoy/config/endpoint/v3/endpoint_components.proto": (
        (),
        "Endpoint 5 observability_name string",
    ),
    _TAGGING: (
        ("envoy/config/core/v3/base.proto",),
        """
        IPTagging.IPTags 1 ip_tags *.envoy.extensions.filters.http.ip_tagging.v3.IPTagging.IPTag
        IPTagging        6 ip_tags_datasource .envoy.config.core.v3.DataSource
        """,
    ),
    "envoy/extensions/matching/common_inputs/network/v3/network_inputs.proto": (
        (),
        "FilterStateInput 2 field string",
    ),
    "envoy/type/matcher/v3/address.proto": ((), "AddressMatcher 2 invert_match bool"),
    "envoy/extensions/common/ratelimit/v3/ratelimit.proto": (
        (),
        "LocalRateLimitDescriptor 3 shadow_mode bool",
    ),
    "envoy/extensions/filters/http/stateful_session/v3/stateful_session.proto": (
        (),
        "StatefulSession 4 status_on_strict_destination_not_found uint32",
    ),
    "envoy/extensions/filters/http/compressor/v3/compressor.proto": (
        (),
        "Compressor.ResponseDirectionConfig 6 weaken_etag_on_compress bool",
    ),
}

# By file: enums, each with the message that it is in, and the names of its values from 0.
_ENUMS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    _ROUTE: (("RateLimit", "XRateLimitOption", "UNSPECIFIED OFF DRAFT_VERSION_03"),),
}

# By file: messages and their fields whose rules are gone.
_FREED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "envoy/type/v3/token_bucket.proto": (("TokenBucket", "max_tokens"),),
    _OTEL_LOG: (("OpenTelemetryAccessLogConfig", "common_config"),),
    _TAGGING: (("IPTagging", "ip_tags"),),
}

# Fields that are newer, each with another whose rules it shares.
_RULED: Final[tuple[tuple[str, str], ...]] = (
    (f"{_ROUTES}.CookieMatcher.name", f"{_ROUTES}.QueryParameterMatcher.name"),
    (f"{_ROUTES}.CookieMatcher.string_match", f"{_ROUTES}.QueryParameterMatcher.string_match"),
    (
        f"{_ROUTES}.RateLimit.Action.RemoteAddressMatch.descriptor_value",
        f"{_ROUTES}.RateLimit.Action.GenericKey.descriptor_value",
    ),
    (
        f"{_ROUTES}.RateLimit.Action.RemoteAddressMatch.address_matcher",
        f"{_ROUTES}.RateLimit.Action.MetaData.metadata_key",
    ),
    (
        "envoy.config.overload.v3.ShrinkHeapConfig.timer_interval",
        "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig.dns_min_refresh_rate",
    ),
)


def apply(protos: Sequence[FileDescriptorProto]) -> None:
    """Makes the files as Envoy has them; ValueError names what they have, or have not, already."""
    for proto in protos:
        imports, lines = _NEWER.get(proto.name, ((), ""))
        for name in imports:
            if name not in proto.dependency:
                proto.dependency.append(name)
        for line in lines.strip().splitlines():
            _add(proto, *line.split())
        for path, name, values in _ENUMS.get(proto.name, ()):
            enum = _message(proto, path).enum_type.add(name=name)
            for number, value in enumerate(values.split()):
                enum.value.add(name=value, number=number)
        for path, name in _FREED.get(proto.name, ()):
            _free(proto, path, name)
    for new, known in _RULED:
        _field(protos, new).options.CopyFrom(_field(protos, known).options)


def _field(protos: Sequence[FileDescriptorProto], path: str) -> FieldDescriptorProto:
    for proto in protos:
        if path.startswith(f"{proto.package}."):
            message, name = path.removeprefix(f"{proto.package}.").rsplit(".", 1)
            if any(each.name == message.partition(".")[0] for each in proto.message_type):
                [field] = (f for f in _message(proto, message).field if f.name == name)
                return field
    raise ValueError(f"there is no field {path}")


def _message(proto: FileDescriptorProto, path: str) -> DescriptorProto:
    messages, found = proto.message_type, None
    for part in path.split("."):
        found = next((each for each in messages if each.name == part), None)
        if found is None:
            found = messages.add(name=part)
        messages = found.nested_type
    assert found is not None
    return found


def _add(
    proto: FileDescriptorProto, path: str, number: str, name: str, kind: str, oneof: str = ""
) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto

    message = _message(proto, path)
    if any(field.name == name for field in message.field):
        raise ValueError(f"{path}.{name} is no longer newer than the schema")
    field = message.field.add(name=name, number=int(number), json_name=_camel(name))
    field.label = FieldDescriptorProto.LABEL_OPTIONAL
    if kind.startswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
        kind = kind[1:]
    if kind.startswith((".", "=")):
        enum = kind.startswith("=")
        field.type = FieldDescriptorProto.TYPE_ENUM if enum else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = kind.removeprefix("=")
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    if oneof:
        field.oneof_index = next(i for i, o in enumerate(message.oneof_decl) if o.name == oneof)


def _free(proto: FileDescriptorProto, path: str, name: str) -> None:
    [field] = (field for field in _message(proto, path).field if field.name == name)
    if not field.HasField("options"):
        raise ValueError(f"{path}.{name} has no rules any more")
    field.ClearField("options")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
