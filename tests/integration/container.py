"""Carries out a Dockerfile without a container engine: every stage is an overlay over this machine's own files.

A stage's files are a layer over those of the stage before, the first one's over this machine, whose Python stands in
for the base image's. They live in a mount namespace of their own, in memory, and end with it. What is not imitated: the
network's namespace, limits, and the base image's exact packages. Needs root, `unshare` and `nsenter`.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

BASE = "/opt/base"  # where the base image's `python` is
PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"


def parse(text: str) -> list[tuple[str, str]]:
    """(instruction, arguments), in order; lines that end in a backslash are joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = [line.strip().split(None, 1) for line in re.sub(r"\\\n", " ", lines).splitlines() if line.strip()]
    return [(word.upper(), arguments) for word, arguments in found]


def ignored(name: str, patterns: list[str]) -> bool:
    """Whether .dockerignore leaves `name` out: the last line that matches it, or a folder above it, decides."""
    above = ["/".join(name.split("/")[: n + 1]) for n in range(name.count("/") + 1)]
    left_out = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if any(fnmatchcase(part, wanted) or fnmatchcase(f"/{part}", wanted.replace("**/", "*/")) for part in above):
            left_out = not pattern.startswith("!")
    return left_out


def context(root: Path) -> list[str]:
    """The files that go to the builder."""
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    kept = []
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        # Only to be quick: what is below these is left out in any case, which the test checks by name.
        folders[:] = [each for each in folders if each not in (".git", ".venv", "node_modules")]
        kept += [name for file in files if not ignored(name := (here / file).as_posix(), patterns)]
    return sorted(kept)


@dataclass(frozen=True)
class Stage:
    """What a stage has come to: its layers, newest first, and the settings of its image."""

    layers: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=lambda: {"PATH": f"{BASE}/bin:/usr/local/bin:/usr/bin:/bin"})
    user: str = "0:0"
    workdir: str = "/"
    volumes: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    stop_signal: str = ""


class Builder:
    """One build, in its namespace."""

    def __init__(self, namespace: str, folder: str, root: Path) -> None:
        """`folder` is an empty one, `root` the context."""
        self._namespace = namespace
        self._folder = folder
        self._root = root
        self._mounted = 0
        self._stages: dict[str, Stage] = {}
        self.shell(f"mount -t tmpfs none {folder}; mkdir {folder}/context")
        self.shell(f"tar -C {root} --null -T - -c | tar -C {folder}/context -x", "\0".join(context(root)))

    def build(self, dockerfile: str, target: str) -> Stage:
        """The image of the stage `target`; stages that it does not need are left out."""
        stages: list[list[tuple[str, str]]] = []
        for instruction, arguments in parse(dockerfile):
            if instruction == "FROM":
                stages.append([])
            if stages:
                stages[-1].append((instruction, arguments))
        named = {steps[0][1].split()[-1]: steps for steps in stages}
        return self._stage(target, named)

    def _stage(self, name: str, stages: Mapping[str, list[tuple[str, str]]]) -> Stage:
        if name not in self._stages:
            first, *steps = stages[name]
            parent = first[1].split()[0]
            stage = self._stage(parent, stages) if parent in stages else self._base()
            for instruction, arguments in steps:
                copied = re.match(r"--from=(\S+) ", arguments) if instruction == "COPY" else None
                if copied:
                    self._stage(copied[1], stages)
                stage = self._step(stage, instruction, arguments)
            self._stages[name] = stage
        return self._stages[name]

    def _base(self) -> Stage:
        """Instead of python:…: this machine, with its Python where the image has it, readable for everybody."""
        if "" not in self._stages:
            folders = shlex.join(map(str, PYTHON.parents))
            prepare = f"chmod o+rx {folders}; {PYTHON} -m venv --without-pip {BASE}"
            self._stages[""] = self._step(Stage(layers=("/",)), "RUN", prepare)
        return self._stages[""]

    def _step(self, stage: Stage, instruction: str, arguments: str) -> Stage:  # noqa: PLR0911  # one per instruction
        match instruction:
            case "ENV":
                pairs = [word.split("=", 1) for word in shlex.split(arguments)]
                more = {key: re.sub(r"\$(\w+)", lambda m: stage.environ.get(m[1], ""), text) for key, text in pairs}
                return replace(stage, environ={**stage.environ, **more})
            case "USER":
                return replace(stage, user=arguments if ":" in arguments else "0:0")
            case "WORKDIR":
                made = self._step(replace(stage, workdir="/"), "RUN", f"mkdir -p {arguments}")
                return replace(made, workdir=arguments)
            case "VOLUME":
                return replace(stage, volumes=tuple(json.loads(arguments)))
            case "ENTRYPOINT":
                return replace(stage, entrypoint=tuple(json.loads(arguments)))
            case "CMD":
                return replace(stage, command=tuple(json.loads(arguments)))
            case "HEALTHCHECK":
                return replace(stage, healthcheck=tuple(json.loads(arguments.partition(" CMD ")[2])))
            case "STOPSIGNAL":
                return replace(stage, stop_signal=arguments)
            case "EXPOSE":
                return stage
            case "RUN":
                root, after = self._layer(stage)
                # How to reach the package index is the builder's business, not the Dockerfile's.
                index = {key: os.environ[key] for key in os.environ if re.match(r"PIP_|\w+_proxy$", key, re.IGNORECASE)}
                self.shell(shlex.join(self.inside(root, after, ("/bin/sh", "-c", arguments), **index)))
                return after
            case "COPY":
                return self._copy(stage, arguments)
        raise NotImplementedError(f"{instruction} in the Dockerfile: teach it to tests/integration/container.py.")

    def _copy(self, stage: Stage, arguments: str) -> Stage:
        *words, target = arguments.split()
        origin = f"{self._folder}/context"
        if words[0].startswith("--from="):
            origin, _ = self._layer(self._stages[words.pop(0).removeprefix("--from=")])
        [source] = words
        root, after = self._layer(stage)
        place = os.path.normpath(f"{root}/{stage.workdir if not target.startswith('/') else ''}/{target}")
        self.shell(f"mkdir -p {place}; cp -a {origin}/{source}/. {place}; chown -R 0:0 {place}")
        return after

    def _layer(self, stage: Stage) -> tuple[str, Stage]:
        """A new layer over the stage's, mounted; and the stage that it makes."""
        self._mounted += 1
        here = f"{self._folder}/{self._mounted}"
        self.shell(
            f"mkdir -p {here}/upper {here}/index {here}/merged; mount -t overlay overlay {here}/merged "
            f"-o lowerdir={':'.join(stage.layers)},upperdir={here}/upper,workdir={here}/index; "
            f"mount --rbind /dev {here}/merged/dev; mount --rbind /proc {here}/merged/proc"
        )
        # The repository is not in an image: whoever still reads it fails here.
        self.shell(f"mkdir -p {here}/merged{self._root}; mount -t tmpfs none {here}/merged{self._root}")
        return f"{here}/merged", replace(stage, layers=(f"{here}/upper", *stage.layers))

    def started(self, stage: Stage, files: Mapping[str, str]) -> str:
        """The root of a container started with --read-only and `files`: only its volumes can be written to."""
        root, _ = self._layer(stage)
        for name, text in files.items():
            self.shell(f"cat >{root}{name}", text)
        for volume in stage.volumes:
            self.shell(
                f"set -- $(stat -c '%u %g %a' {root}{volume}); "
                f"mount -t tmpfs -o uid=$1,gid=$2,mode=$3 none {root}{volume}"
            )
        self.shell(f"mount -o remount,ro {root}")
        return root

    def inside(self, root: str, stage: Stage, command: tuple[str, ...], **environ: str) -> list[str]:
        """The command line that runs `command` in a container, without any capability when its user is not root."""
        user, _, group = stage.user.partition(":")
        who = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        if user != "0":
            who += ["--bounding-set=-all", "--inh-caps=-all"]
        given = [f"{key}={value}" for key, value in {"HOME": "/root", **stage.environ, **environ}.items()]
        there = ["env", "-i", f"--chdir={stage.workdir}", *given]
        return ["chroot", root, *who, *there, *command]

    def entering(self, command: list[str]) -> list[str]:
        """The command line that runs `command` in this build's namespace, from outside."""
        return ["nsenter", f"--mount={self._namespace}", "--", *command]

    def shell(self, script: str, stdin: str = "") -> str:
        done = subprocess.run(
            self.entering(["bash", "-euc", script]), input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def builder(folder: Path, root: Path) -> Iterator[Builder]:
    """A namespace for a build, until the context is left."""
    with subprocess.Popen(
        ["unshare", "--mount", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("here\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "here\n"
        yield Builder(f"/proc/{holder.pid}/ns/mnt", str(folder), root)
        holder.stdin.close()  # `cat` ends, and with it the namespace


def possible() -> bool:
    """Whether this machine lets us."""
    script = (
        "mount -t tmpfs none /mnt && cd /mnt && mkdir u w r && mount -t overlay o -o lowerdir=/,upperdir=u,workdir=w r"
    )
    try:
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
