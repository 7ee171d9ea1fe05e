"""The command line: ``meshcore run | validate | explain | bench | version``, Envoy's own flags.

What goes wrong is one line on standard error and exit status 1. Everything but argument parsing is
imported when a command needs it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from meshcore._version import __version__
from meshcore.errors import ConfigError, MeshcoreError

if TYPE_CHECKING:
    from meshcore.config import Config
    from meshcore.gateway import Gateway

__all__ = ["main"]

LOG_LEVELS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
# Flags of Envoy that people's scripts carry and that ask for nothing here: there is no hot restart
# and no dynamic configuration.
IDLE_FLAGS = (
    "--disable-hot-restart",
    "--use-dynamic-base-id",
    "--skip-hot-restart-on-no-parent",
    "--skip-hot-restart-parent-stats",
    "--skip-deprecated-logs",
    "--reject-unknown-dynamic-fields",
    "--ignore-unknown-dynamic-fields",
    "--enable-fine-grain-logging",
    "--enable-core-dump",
    "--cpuset-threads",
)
IDLE_OPTIONS = (
    "--base-id",
    "--base-id-path",
    "--restart-epoch",
    "--parent-shutdown-time-s",
    "--drain-strategy",
    "--socket-path",
    "--socket-mode",
    "--local-address-ip-version",
)
# What spdlog's pattern flags are in Python's logging; the dates go through strftime.
LOG_FLAGS = {"v": "message", "l": "levelname", "L": "levelname", "n": "name", "t": "thread",
             "P": "process", "g": "pathname", "s": "filename", "#": "lineno", "!": "funcName",
             "e": "msecs", "_": "message", "j": "message"}  # fmt: skip
LOG_DATES = "aAbBcCdDFHIjmMprRSTyYzZ"
LOG_FORMAT = "[%Y-%m-%d %T.%e][%t][%l][%n] %v"


class CommandError(MeshcoreError):
    """What stops a command; its text is the line that the user sees."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # `meshcore -c envoy.yaml` is Envoy's own command line.
    if given and given[0].startswith("-") and given[0] not in ("-h", "--help", "--version"):
        given.insert(0, "run")
    options = _parser().parse_args(given)
    try:
        return int(options.command(options))
    except (MeshcoreError, OSError) as error:
        print(f"meshcore: {error}", file=sys.stderr)
        return 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"meshcore: {message} (try: {self.prog} --help)", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="meshcore", description="Envoy's data plane in a Python process.")
    parser.add_argument("--version", action="version", version=_version())
    names = "run|validate|explain|bench|version"
    commands = parser.add_subparsers(dest="name", required=True, metavar=names)
    run = commands.add_parser("run", help="serve an Envoy v3 bootstrap until SIGTERM or SIGINT")
    _add_configuration(run)
    _add_serving(run)
    run.set_defaults(command=_run)
    validate = commands.add_parser("validate", help="say whether a bootstrap can be served")
    _add_configuration(validate)
    validate.set_defaults(command=_validate)
    explain = commands.add_parser("explain", help="the way that a request takes, and why")
    _add_configuration(explain)
    _add_request(explain)
    explain.set_defaults(command=_explain)
    bench = commands.add_parser("bench", help="what calls of meshcore cost; compare with a record")
    _add_bench(bench)
    bench.set_defaults(command=_bench)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=_print_version)
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-c", "--config-path", metavar="FILE", help=".yaml, .yml, .json, .pb or .pb_text")
    add("--config-yaml", metavar="YAML", help="merged over the file")
    add("--service-node", metavar="ID", help="overrides node.id")
    add("--service-cluster", metavar="NAME", help="overrides node.cluster")
    add("--service-zone", metavar="ZONE", help="overrides node.locality.zone")
    add(
        "--allow-unsupported",
        action="store_true",
        help="warn of fields that meshcore does not support yet, instead of stopping",
    )
    add(
        "--allow-unknown-static-fields",
        "--allow-unknown-fields",
        action="store_true",
        help="warn of fields that Envoy's schema does not have, instead of stopping",
    )
    add(
        "--import",
        dest="imports",
        metavar="MODULE",
        action="append",
        default=[],
        help="import a module first, for the Python filters that it registers; repeatable",
    )


def _add_serving(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--concurrency", type=_count, metavar="N", help="worker threads; default: one for each CPU")
    add("-l", "--log-level", choices=LOG_LEVELS, default="info", metavar="LEVEL", help=_levels())
    add("--log-path", metavar="FILE", help="log to a file instead of standard error")
    add(
        "--log-format", default=LOG_FORMAT, metavar="FORMAT", help="spdlog's flags: %%v is the text"
    )
    add(
        "--component-log-level",
        type=_component_levels,
        default={},
        metavar="NAME:LEVEL,...",
        help="levels of single loggers below meshcore",
    )
    add("--admin-address-path", metavar="FILE", help="write the admin interface's address to it")
    add("--mode", choices=("serve", "validate"), default="serve", help="validate: as the command")
    add(
        "--file-flush-interval-msec",
        type=_seconds,
        default=10000,
        metavar="MS",
        help="how long access log lines wait to be written; default 10000",
    )
    add(
        "--file-flush-min-size-kb",
        type=_seconds,
        default=64,
        metavar="KIB",
        help="... if not so much comes together before; default 64",
    )
    add("--drain-time-s", type=_seconds, metavar="S", help="how long a stop waits for requests")
    for flag in IDLE_FLAGS:
        add(flag, action="store_true", help=argparse.SUPPRESS)
    for flag in IDLE_OPTIONS:
        add(flag, help=argparse.SUPPRESS)


def _add_request(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--request", required=True, metavar="REQUEST", help="as 'GET https://host/path'")
    add("-H", "--header", type=_header, action="append", default=[], help="as 'name: value'")
    add("--listener", metavar="NAME", help="where it arrives; default: by the URL's port")
    add("--random-value", type=int, default=0, metavar="N", help="what fractions are drawn with")
    add("--json", action="store_true", help="all of it, for programs")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("jobs", nargs="*", metavar="JOB", help="default: all")
    add("--compare", metavar="BASE.json", help="exit 1 when a job costs more than it did there")
    add("--json", metavar="OUT", help="write the record, to compare with later")
    add("--timed", action="store_true", help="count time even where valgrind is installed")
    add("--limit", type=float, metavar="PERCENT", help="growth that fails; default 2, timed 25")


def _levels() -> str:
    return ", ".join(LOG_LEVELS)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise argparse.ArgumentTypeError(f"must be a number of workers, not {text!r}")
    return max(1, int(text))  # as in Envoy, 0 means 1


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"must be 'name: value', not {text!r}")
    return name.strip(), value.strip()


def _component_levels(text: str) -> dict[str, str]:
    levels = {}
    for item in filter(None, text.split(",")):
        name, _, level = item.partition(":")
        if not name or level not in LOG_LEVELS:
            raise argparse.ArgumentTypeError(f"must be 'name:level,...', not {text!r}")
        levels[name] = level
    return levels


def _bench(options: argparse.Namespace) -> int:
    from meshcore.bench import run

    return run(options)


def _version() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return f"meshcore {__version__} (Python {python}, {sys.platform})"


def _print_version(_: argparse.Namespace) -> int:
    print(_version())
    return 0


def _load(options: argparse.Namespace) -> Config:
    """The configuration that the flags name."""
    from meshcore.config import load, load_file

    allow: dict[str, Any] = {
        "allow_unsupported": options.allow_unsupported,
        "allow_unknown": options.allow_unknown_static_fields,
    }
    overlays: list[Any] = [{"node": node}] if (node := _node(options)) else []
    if options.config_path is not None:
        if options.config_yaml is not None:
            overlays.insert(0, options.config_yaml)
        return load_file(options.config_path, overlay=overlays, **allow)
    if options.config_yaml is not None:
        return load(options.config_yaml, overlay=overlays, **allow)
    raise CommandError("at least one of --config-path and --config-yaml is needed")


def _node(options: argparse.Namespace) -> dict[str, Any]:
    node: dict[str, Any] = {}
    if options.service_node:
        node["id"] = options.service_node
    if options.service_cluster:
        node["cluster"] = options.service_cluster
    if options.service_zone:
        node["locality"] = {"zone": options.service_zone}
    return node


def _fault(options: argparse.Namespace, error: ConfigError) -> str:
    """The line for an error of the configuration: which input, where in it, and what."""
    if error.reason.startswith("cannot read "):
        return str(error)
    return f"{options.config_path or '--config-yaml'}: {error}"


def _import(modules: list[str]) -> None:
    # As for a script, modules beside where the user stands can be imported.
    if modules and "" not in sys.path:
        sys.path.insert(0, "")
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CommandError(f"--import {name}: {error}") from None


def _validate(options: argparse.Namespace) -> int:
    _import(options.imports)
    try:
        config = _load(options)
        _gateway(config, None)
    except ConfigError as error:
        for fault in (error, *error.others):
            print(f"meshcore: {_fault(options, fault)}", file=sys.stderr)
        return 1
    for warning in config.warnings:
        print(f"meshcore: warning: {_fault(options, warning)}", file=sys.stderr)
    print(f"configuration '{options.config_path or '--config-yaml'}' OK")
    return 0


def _gateway(config: Config, workers: int | None, **options: Any) -> Gateway:
    """A gateway with the configuration compiled, not started."""
    from meshcore.gateway import Gateway

    return Gateway(config, workers=workers, **options)


def _explain(options: argparse.Namespace) -> int:
    from meshcore.explain import Request, explain, render

    _import(options.imports)
    try:
        config = _load(options)
        request = Request.parse(options.request, options.header, options.random_value)
        found = explain(config, request, options.listener)
    except ConfigError as error:
        raise CommandError(_fault(options, error)) from None
    print(json.dumps(found, indent=2) if options.json else render(found))
    return 0


def _run(options: argparse.Namespace) -> int:
    if options.mode == "validate":
        return _validate(options)
    _set_up_logging(options)
    _import(options.imports)
    try:
        gateway = _gateway(
            _load(options),
            options.concurrency,
            log_flush_interval_s=options.file_flush_interval_msec / 1000,
            log_flush_kib=options.file_flush_min_size_kb,
        )
    except ConfigError as error:
        more = len(error.others)
        rest = f" (and {more} more: see meshcore validate)" if more else ""
        raise CommandError(_fault(options, error) + rest) from None
    asyncio.run(_serve(gateway, options.drain_time_s, options.admin_address_path))
    return 0


async def _serve(
    gateway: Gateway, drain_time_s: int | None, admin_address_path: str | None
) -> None:
    """Serve until a signal, then let requests in flight finish; a second signal does not wait."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    signals = (signal.SIGTERM, signal.SIGINT)

    def on_signal() -> None:
        stopping.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    loop.add_signal_handler(signal.SIGUSR1, gateway.reopen_logs)
    serving = asyncio.ensure_future(gateway.serve())
    waiting = asyncio.ensure_future(stopping.wait())
    if admin_address_path is not None:
        await _write_admin_address(gateway, serving, admin_address_path)
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not serving.done():
        await asyncio.to_thread(gateway.drain, drain_time_s)
        gateway.stop()
    await serving


async def _write_admin_address(gateway: Gateway, serving: asyncio.Future[None], path: str) -> None:
    """What ``--admin-address-path`` asks for: ``ip:port``, once the interface listens."""
    while not gateway.running and not serving.done():
        await asyncio.sleep(0.005)
    if (address := gateway.admin_address) is not None:
        host, port = address
        text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        await asyncio.to_thread(Path(path).write_text, text, "utf-8")


class _LogFormatter(logging.Formatter):
    """Envoy's ``--log-format``: the flags of spdlog."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._parts = re.findall(r"%-?\d*(.)|([^%]+)", pattern)

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        moment = time.localtime(record.created)
        line = "".join(text or self._flag(flag, record, moment) for flag, text in self._parts)
        return f"{line}\n{record.exc_text}" if record.exc_text else line

    @staticmethod
    def _flag(flag: str, record: logging.LogRecord, moment: time.struct_time) -> str:
        if flag == "e":
            return f"{int(record.msecs):03}"
        if flag == "f":
            return f"{int(record.created * 1e6) % 1_000_000:06}"
        if flag in LOG_FLAGS:
            return str(getattr(record, LOG_FLAGS[flag]))
        if flag in LOG_DATES:
            return time.strftime(f"%{flag}", moment)
        return flag if flag == "%" else ""


def _set_up_logging(options: argparse.Namespace) -> None:
    """By default Envoy's line: time, thread, level, logger, text."""
    logging.addLevelName(LOG_LEVELS["trace"], "TRACE")
    handler: logging.Handler = logging.StreamHandler()
    if options.log_path is not None:
        handler = logging.FileHandler(options.log_path, encoding="utf-8")
    handler.setFormatter(_LogFormatter(options.log_format))
    logging.basicConfig(level=LOG_LEVELS[options.log_level], handlers=[handler])
    for name, level in options.component_log_level.items():
        logging.getLogger(f"meshcore.{name}").setLevel(LOG_LEVELS[level])
