"""The build: one static core in every module, the package files, and its errors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
CC = "ccache gcc" if shutil.which("ccache") else "gcc"

pytestmark = pytest.mark.tree

# A second module takes the address of the first one's core object, across their two copies.
HASHER = """
from libc.stdint cimport uint64_t
cdef extern from "base/hash.h":
    uint64_t mc_xxh64(const void *data, size_t size, uint64_t seed) nogil
cdef class Hasher:
    def __cinit__(self):
        self.function = mc_xxh64
def xxh64(const unsigned char[:] data):
    return mc_xxh64(&data[0], data.shape[0], 0)
"""
HASHER_PXD = """
from libc.stdint cimport uint64_t
cdef class Hasher:
    cdef uint64_t (*function)(const void *, size_t, uint64_t) noexcept nogil
"""
CALLER = """
from meshcore._core.hasher cimport Hasher
def call(Hasher hasher, bytes data):
    return hasher.function(<const char *>data, len(data), 0)
"""


def run(
    *command: str | Path, cwd: Path, check: bool = True, **environ: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def build(tree: Path, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "setup.py", "build_ext", "--inplace")
    return run(*command, cwd=tree, check=check, **({"CC": CC} | environ))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real build over the core's first room and two modules of our own, built once."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "third_party.lock.json"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "_build", tree / "_build")
    shutil.copytree(ROOT / "csrc" / "base", tree / "csrc" / "base")
    shutil.copytree(ROOT / "third_party", tree / "third_party")
    core = tree / "src" / "meshcore" / "_core"
    core.mkdir(parents=True)
    shutil.copy(ROOT / "src" / "meshcore" / "_version.py", core.parent)
    (core.parent / "__init__.py").touch()
    (core / "__init__.py").touch()
    (core / "hasher.pyx").write_text(HASHER)
    (core / "hasher.pxd").write_text(HASHER_PXD)
    (core / "caller.pyx").write_text(CALLER)
    build(tree)
    return tree


def module(tree: Path, name: str) -> Path:
    return tree / "src" / "meshcore" / "_core" / f"{name}{SUFFIX}"


def test_modules_share_pointers_of_the_core(tree: Path) -> None:
    code = (
        "from meshcore._core import caller, hasher;"
        'print(f\'{hasher.xxh64(b"a"):x} {caller.call(hasher.Hasher(), b"a"):x}\')'
    )
    done = run(sys.executable, "-c", code, cwd=tree / "src", PYTHONPATH=str(tree / "src"))
    assert done.stdout == "d24ec4f1a98c6e5b d24ec4f1a98c6e5b\n"


def test_modules_export_their_entry_alone_and_drop_what_they_do_not_call(tree: Path) -> None:
    exported = run("nm", "-D", "--defined-only", module(tree, "hasher"), cwd=tree).stdout
    assert [line.split()[-1] for line in exported.splitlines()] == ["PyInit_hasher"]
    held = run("nm", module(tree, "hasher"), cwd=tree).stdout
    assert " t mc_xxh64" in held
    assert "llhttp" not in held
    assert "mc_map_" not in held


def test_modules_need_libc_alone(tree: Path) -> None:
    needed = run("readelf", "-d", module(tree, "hasher"), cwd=tree).stdout
    libraries = set(re.findall(r"NEEDED.*\[(.*)\]", needed))
    assert libraries <= {"libc.so.6", "libpthread.so.0", "libm.so.6"}


def test_only_what_changed_is_built_again(tree: Path) -> None:
    def times() -> dict[str, int]:
        built = [*tree.rglob("*.o"), *tree.rglob("*.so")]
        return {str(p.relative_to(tree)): p.stat().st_mtime_ns for p in built}

    before = times()
    build(tree)
    assert times() == before

    source = tree / "csrc" / "base" / "hash.c"
    os.utime(source)
    build(tree)
    changed = {Path(name).name for name, time in times().items() if before.get(name) != time}
    core = {name for name in changed if (tree / "csrc" / "base" / name).with_suffix(".c").is_file()}
    assert core == {"hash.o"}
    assert changed - core == {"caller.o", f"caller{SUFFIX}", "hasher.o", f"hasher{SUFFIX}"}


def test_other_flags_build_everything_again(tree: Path) -> None:
    plain = module(tree, "hasher").read_bytes()
    build(tree, MESHCORE_SANITIZE="undefined")
    assert b"__ubsan_handle" in module(tree, "hasher").read_bytes()
    build(tree)
    again = module(tree, "hasher").read_bytes()
    assert b"__ubsan_handle" not in again
    assert len(again) == len(plain)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "meshcore: " in line]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_missing_compiler(tree: Path) -> None:
    line = one_line(build(tree, check=False, CC="no-such-compiler"))
    assert line.startswith("meshcore: no C compiler: no-such-compiler is not on this machine")


def test_missing_compiler_through_pip(tree: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    shutil.copytree(tree, tmp_path / "tree", ignore=shutil.ignore_patterns("build", "*.so"))
    (tmp_path / "tree" / "_build" / "schema.py").write_text("def ensure(): return False\n")
    done = run(*command, ".", cwd=tmp_path / "tree", check=False, CC="no-such-compiler")
    assert "no-such-compiler is not on this machine" in one_line(done)


def test_unknown_sanitizer(tree: Path) -> None:
    assert "magic is not known" in one_line(build(tree, check=False, MESHCORE_SANITIZE="magic"))


def test_schema_holds_each_file_after_its_imports() -> None:
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    data = (ROOT / "src" / "meshcore" / "config" / "_schema.bin").read_bytes()
    seen: set[str] = set()
    for file in descriptor_pb2.FileDescriptorSet.FromString(zlib.decompress(data)).file:
        assert set(file.dependency) <= seen, file.name
        seen.add(file.name)
    for name in (
        "envoy/config/bootstrap/v3/bootstrap.proto",
        "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
        "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
        "google/protobuf/any.proto",
        "validate/validate.proto",
        "xds/type/v3/typed_struct.proto",
    ):
        assert name in seen
    assert not [name for name in seen if "/v2/" in name]


def test_version_is_said_once() -> None:
    import meshcore

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert re.fullmatch(r"\d+\.\d+\.\d+", meshcore.__version__)


@pytest.mark.slow
def test_sdist_installs_with_no_network_and_its_wheel_needs_few_libraries(tmp_path: Path) -> None:
    """A clone gives an sdist, which gives a wheel with neither registry nor cache at hand."""
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", ROOT, clone, cwd=tmp_path)
    shutil.copytree(ROOT / "third_party", clone / "third_party")
    build_module = [sys.executable, "-m", "build", "--no-isolation"]
    run(*build_module, "--sdist", "-o", tmp_path, clone, cwd=tmp_path)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {
        "third_party.lock.json",
        "third_party/llhttp/llhttp.c",
        "third_party/llhttp/LICENSE-MIT",
        "src/meshcore/config/_schema.bin",
        "csrc/base/alloc.h",
        "_build/vendor.py",
        "Makefile",
    } <= names

    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
        "MESHCORE_VENDOR_OFFLINE": "1",
        "MESHCORE_VENDOR_CACHE": str(tmp_path / "empty"),
    }
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    # Only ccache reads the second variable: the same source compiles the same in any directory.
    compiler = {"CC": CC, "CCACHE_NOHASHDIR": "1"}
    run(*pip, sdist, "-w", tmp_path, cwd=tmp_path, **offline, **compiler)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {"meshcore/py.typed", "meshcore/config/_schema.bin"} <= inside
    assert any(name.endswith("licenses/third_party/llhttp/LICENSE-MIT") for name in inside)
    assert not [name for name in inside if name.endswith((".c", ".pyx", ".o"))]
    for stub in (ROOT / "src" / "meshcore" / "_core").rglob("*.pyi"):
        assert f"meshcore/_core/{stub.name}" in inside

    shown = run(sys.executable, "-m", "auditwheel", "show", wheel, cwd=tmp_path).stdout
    # Every Linux has these (PEP 600); RE2 and the codecs are what `auditwheel repair` puts in.
    everywhere = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"}
    bundled = re.compile(r"lib(re2|brotli\w+|zstd)\.so\.\d+")
    needed = set(re.findall(r"lib[\w+-]+\.so\.\d+", shown))
    assert not [name for name in needed - everywhere if not bundled.fullmatch(name)], shown
