"""Compiles csrc/ and the vendored sources once, then links them into every Cython module.

Everything else about the package stands in pyproject.toml. The core has no mutable globals, so that
each extension module may carry its own copy of the functions it uses: symbols are hidden, and
sections that nobody calls are dropped at link time. Pointers pass between modules freely; the
address of a function or of a constant table is no identity across them.

Environment switches: MESHCORE_SANITIZE (`address`, `thread`, `undefined`, or several by comma),
MESHCORE_COVERAGE (gcov), MESHCORE_DEBUG (assertions, no optimisation).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

JOBS = len(os.sched_getaffinity(0))
INCLUDES = ["src/meshcore/_core", "csrc", "csrc/include", "third_party", "third_party/llhttp"]
LIBRARIES = ["re2", "stdc++", "z"]
# Compression beyond gzip, built in where the header is there: its macro and its libraries.
CODECS = {
    "brotli/encode.h": ("MC_WITH_BROTLI", ["brotlienc", "brotlidec"]),
    "zstd.h": ("MC_WITH_ZSTD", ["zstd"]),
}
# By suffix: C, and the C++ of the one file that talks to RE2.
STANDARDS = {".c": "-std=gnu11", ".cc": "-std=gnu++17"}
DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "embedsignature": False,
    "freethreading_compatible": True,
}
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter"]


def compile_flags() -> list[str]:
    flags = ["-g", "-fPIC", "-fvisibility=hidden", "-pthread"]
    flags += ["-ffunction-sections", "-fdata-sections"]
    if os.environ.get("MESHCORE_DEBUG"):
        flags += ["-O0", "-UNDEBUG", "-DMC_DEBUG=1"]
    elif os.environ.get("MESHCORE_SANITIZE"):
        flags += ["-O1", "-UNDEBUG"]
    else:
        flags += ["-O2"]
    return flags + instrumentation()


def link_flags() -> list[str]:
    # Only a module that matches regular expressions needs the libraries.
    return ["-Wl,--gc-sections", "-Wl,--as-needed", "-pthread", *instrumentation()]


def instrumentation() -> list[str]:
    flags = []
    if sanitizers := os.environ.get("MESHCORE_SANITIZE"):
        unknown = set(sanitizers.split(",")) - {"address", "thread", "undefined"}
        if unknown:
            sys.exit(f"meshcore: MESHCORE_SANITIZE={sanitizers}: {', '.join(unknown)} is not known")
        flags += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer"]
        flags += ["-fno-sanitize-recover=all"] if "undefined" in sanitizers else []
    if os.environ.get("MESHCORE_COVERAGE"):
        flags += ["--coverage"]
    return flags


def extensions() -> Iterator[Extension]:
    """One extension for each .pyx below src/meshcore/_core."""
    for source in sorted(Path("src/meshcore/_core").rglob("*.pyx")):
        name = ".".join(source.with_suffix("").parts[1:])
        yield Extension(name, [source.as_posix()], include_dirs=INCLUDES, language="c")


class BuildWithCore(build_ext):
    """`build_ext` that compiles the C core first, in parallel, and only what changed."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or JOBS

    def build_extensions(self) -> None:
        self.require_compiler()
        self.require_re2()
        self.require_zlib()
        codecs = [codec for header, codec in CODECS.items() if self.has_header(header)]
        self.codec_flags = [f"-D{macro}" for macro, _ in codecs]
        libraries = [*LIBRARIES, *(library for _, names in codecs for library in names)]
        self.translate()
        directory = Path(self.build_temp) / "core"
        core = self.build_core(directory)
        headers = [str(path) for path in Path("csrc").rglob("*.h")]
        for ext in self.extensions:
            ext.extra_compile_args = [STANDARDS[".c"], *compile_flags()]
            ext.extra_link_args = link_flags()
            ext.extra_objects = [str(core)]
            ext.libraries = [*ext.libraries, *libraries]
            ext.depends = [*ext.depends, *headers, str(core), str(directory / "flags")]
        super().build_extensions()

    def require_compiler(self) -> None:
        compiler = next(w for w in self.compiler.compiler_so if Path(w).name != "ccache")
        if shutil.which(compiler) is None:
            sys.exit(
                f"meshcore: no C compiler: {compiler} is not on this machine; install one "
                "(Debian, Ubuntu: apt-get install gcc libc6-dev) or name yours in CC"
            )
        header = Path(sysconfig.get_path("include")) / "Python.h"
        if not header.is_file() and not any(
            (Path(path) / "Python.h").is_file() for path in self.compiler.include_dirs
        ):
            sys.exit(
                f"meshcore: {header} is missing; install Python's headers "
                "(Debian, Ubuntu: apt-get install python3-dev)"
            )

    def require_re2(self) -> None:
        """Looks for the header with the compiler as it will be called, CFLAGS and all."""
        command = [*self.compiler.compiler_so, "-x", "c++", "-fsyntax-only", "-"]
        probe = subprocess.run(command, input=b"#include <re2/re2.h>\n", capture_output=True)
        if probe.returncode != 0:
            reason = probe.stderr.decode(errors="replace")
            if "re2/re2.h" not in reason:
                sys.exit(f"meshcore: no C++ compiler beside {command[0]}: {reason.splitlines()[0]}")
            sys.exit(
                "meshcore: RE2 is missing; install its development files "
                "(Debian, Ubuntu: apt-get install libre2-dev)"
            )

    def has_header(self, name: str) -> bool:
        command = [*self.compiler.compiler_so, "-x", "c", "-E", "-"]
        source = f"#include <{name}>\n".encode()
        return subprocess.run(command, input=source, capture_output=True).returncode == 0

    def require_zlib(self) -> None:
        if not self.has_header("zlib.h"):
            sys.exit(
                "meshcore: zlib is missing; install its development files "
                "(Debian, Ubuntu: apt-get install zlib1g-dev)"
            )

    def translate(self) -> None:
        """Cython to C, below build/, leaving the tree clean; the modules keep their identity."""
        from Cython.Build import cythonize

        translated = cythonize(
            self.extensions,
            build_dir="build/cython",
            include_path=["src"],
            compiler_directives=DIRECTIVES,
        )
        for ext, new in zip(self.extensions, translated, strict=True):
            ext.sources, ext.depends = new.sources, new.depends

    def build_core(self, directory: Path) -> Path:
        """The static library of csrc/ and third_party/, its objects compiled only when outdated."""
        flags = [*compile_flags(), *self.codec_flags]
        stamp = " ".join([*self.compiler.compiler_so, *flags])
        # A module that was linked with other flags is older than this file, hence built again.
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "flags").is_file() or (directory / "flags").read_text() != stamp:
            (directory / "flags").write_text(stamp)
        directory = directory / hashlib.sha256(stamp.encode()).hexdigest()[:12]
        ours = [path for suffix in STANDARDS for path in sorted(Path("csrc").rglob(f"*{suffix}"))]
        vendored = sorted(Path("third_party").rglob("*.c"))

        def compile_one(source: Path) -> tuple[str, bool]:
            target = directory / source.with_suffix(".o")
            if is_fresh(target):
                return str(target), False
            self.compiler.compile(
                [source.as_posix()],
                output_dir=str(directory),
                include_dirs=INCLUDES,
                extra_postargs=[
                    STANDARDS[source.suffix],
                    *flags,
                    "-MMD",
                    *(WARNINGS if source in ours else ["-w"]),
                ],
            )
            return str(target), True

        with ThreadPoolExecutor(self.parallel) as pool:
            results = list(pool.map(compile_one, [*ours, *vendored]))
        library = directory / self.compiler.library_filename("meshcore")
        if any(changed for _, changed in results) or not library.is_file():
            library.unlink(missing_ok=True)
            self.compiler.create_static_lib([obj for obj, _ in results], "meshcore", str(directory))
        return library


def is_fresh(target: Path) -> bool:
    """Whether an object is newer than all that its dependency file names."""
    try:
        built = target.stat().st_mtime_ns
        _, _, names = target.with_suffix(".d").read_text().partition(":")
        return all(Path(n).stat().st_mtime_ns <= built for n in names.replace("\\\n", " ").split())
    except OSError:
        return False


setup(ext_modules=list(extensions()), cmdclass={"build_ext": BuildWithCore})
