"""The programs that perf/run.py compares: each is built here, or skipped with the reason."""

import collections
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "perf"
# Of this tree; perf/run.py may know another.
ringo_build = BUILD / "ringo"

# program(group) gives the command that takes COUNT and ROUNDS, or None; server is the command of
# an echo server, or None; headers are what a user of all of it includes, and the options that find it;
# http is the command of a server that says hello, as perf/hello.py takes it, or None.
System = collections.namedtuple("System", "name version program server headers http",
                                defaults=[None, None])


class Skip(Exception):
    pass


def run(command, **options):
    """Runs a step of a build, quiet unless it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, **options)
    except OSError as error:
        raise Skip(str(error)) from error
    if done.returncode != 0:
        raise Skip(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}")
    return done.stdout.strip()


def need(tool):
    if not shutil.which(tool):
        raise Skip(f"no {tool} here")


def compiler():
    return next((c for c in ("clang++-19", "g++") if shutil.which(c)), "c++")


def build_ringo(source, build, targets):
    ccache = "ccache " if shutil.which("ccache") else ""
    cxx = compiler()
    c = {"clang++-19": "clang-19", "g++": "gcc"}.get(cxx, "cc")
    environment = os.environ | {"CXX": ccache + cxx, "CC": ccache + c}
    if not (build / "build.ninja").exists():
        run(["meson", "setup", build, source, "--buildtype", "release", "-Dtests=disabled"],
            env=environment)
    # An older ringo may lack what a newer program needs: build what can be built.
    for target in targets:
        try:
            run(["ninja", "-C", build, target])
        except Skip as reason:
            print(f"skipped {target}: {reason}")


def ringo(name="ringo", source=ROOT, build=None, groups=()):
    """Built where `build` is, with the programs of `groups`; None: it is built already."""
    build = build or ringo_build
    if groups is not None:
        programs = [f"perf/perf_{group}" for group in groups]
        servers = ["samples/echo_server", "perf/echo_client", "perf/echo_epoll", "perf/echo_uring",
                   "samples/http_server"]
        build_ringo(source, build, programs + servers)

    def program(group):
        path = build / "perf" / f"perf_{group}"
        return [path] if path.exists() else None

    cxx = f"built in {build}" if groups is None else run([compiler(), "--version"]).splitlines()[0]
    revision = run(["git", "describe", "--always", "--dirty"], cwd=ROOT) if source == ROOT else name

    def sample(server):
        path = build / "samples" / server
        return [path, "127.0.0.1:0"] if path.exists() else None

    return System(name, f"{revision}, {cxx}", program, sample("echo_server"),
                  (["ringo/ringo.hpp"], ["-I", source / "include"]), sample("http_server"))


def older_ringo(revision, groups):
    """The library of `revision` under the benchmarks of this tree."""
    commit = run(["git", "rev-parse", "--short", f"{revision}^{{commit}}"], cwd=ROOT)
    source = BUILD / f"source-{commit}"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    archive = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
    run(["tar", "-x", "-C", source], stdin=archive.stdout)
    shutil.rmtree(source / "perf")
    shutil.copytree(ROOT / "perf", source / "perf")
    name = f"ringo-{commit}"
    return ringo(name, source, BUILD / name, groups)


def peer(name, version, path):
    return System(name, version, lambda group: [path, group], [path, "echo", "127.0.0.1:0"])


def echo_only(name, version, path):
    return System(name, version, lambda group: None, [path, "0"])


def go():
    need("go")
    path = BUILD / "go" / "peer"
    run(["go", "build", "-o", path, "."], cwd=ROOT / "perf" / "vs" / "go")
    return peer("Go", run(["go", "version"]), path)._replace(http=[path, "http", "127.0.0.1:0"])


def tokio():
    need("cargo")
    crates = pathlib.Path("/usr/share/cargo/registry")
    versions = [path.name for path in crates.glob("tokio-[0-9]*")]
    if not versions:
        raise Skip("no Debian crate of Tokio here (librust-tokio-dev)")
    target = BUILD / "tokio"
    run(["cargo", "build", "--release", "--offline", "--target-dir", target,
         "--config", 'source.crates-io.replace-with="debian"',
         "--config", f'source.debian.directory="{crates}"'], cwd=ROOT / "perf" / "vs" / "tokio")
    version = f"{versions[0]}, {run(['rustc', '--version'])}"
    path = target / "release" / "peer"
    return peer("Tokio", version, path)._replace(http=[path, "http", "127.0.0.1:0"])


def asio():
    header = pathlib.Path("/usr/include/boost/version.hpp")
    if not header.exists():
        raise Skip("no Boost here (libboost1.81-dev)")
    path = BUILD / "asio"
    sources = sorted((ROOT / "perf" / "vs" / "asio").glob("*.cpp"))
    run([compiler(), "-std=c++20", "-O3", "-DNDEBUG", "-I", ROOT / "include", *sources, "-o", path,
         "-pthread"])
    version = re.search(r'BOOST_LIB_VERSION "(.*)"', header.read_text())[1].replace("_", ".")
    headers = ["boost/asio.hpp", "boost/asio/experimental/channel.hpp"]
    found = peer("Asio", f"Boost {version}, the same compiler", path)
    return found._replace(headers=(headers, []), http=[path, "http", "127.0.0.1:0"])


def libuv():
    need("pkg-config")
    flags = run(["pkg-config", "--cflags", "--libs", "libuv"]).split()
    path = BUILD / "echo_libuv"
    run(["cc", "-O3", ROOT / "perf" / "vs" / "echo_libuv.c", "-o", path, *flags])
    return echo_only("libuv", run(["pkg-config", "--modversion", "libuv"]), path)


def c_epoll():
    return echo_only("C epoll", "perf/vs/echo_epoll.c", ringo_build / "perf" / "echo_epoll")


def c_uring():
    version = "perf/vs/echo_uring.c, liburing " + run(["pkg-config", "--modversion", "liburing"])
    return echo_only("C io_uring", version, ringo_build / "perf" / "echo_uring")


def nginx():
    need("wrk")
    version = run([shutil.which("nginx") or "/usr/sbin/nginx", "-v"]).rpartition("/")[2]
    return System("nginx", version, lambda group: None, None, http=["nginx"])


PEERS = {"go": go, "tokio": tokio, "asio": asio, "libuv": libuv, "c_epoll": c_epoll,
         "c_uring": c_uring, "nginx": nginx}
