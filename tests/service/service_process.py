"""Services in processes of their own, for tests of their life from start to end."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

PATIENCE_S = 60
ROOT = Path(__file__).parents[2]


def command(models: Path, *options: str) -> list[str]:
    built_in = ["--built-in-models", "false", "--models-dir", str(models)]
    return [sys.executable, "-m", "service.cli", "serve", "--port", "0", *built_in, *options]


@contextmanager
def serving(models: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A serving process and its address; killed at the end if it still runs."""
    process = subprocess.Popen(command(models, *options), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        [address] = next(found for line in lines if (found := re.findall(r"serving on (http://\S+)", line)))
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def send(address: str, body: str, length: int | None = None, path: str = "/translate") -> socket.socket:
    """Opens a connection and sends a request, or its beginning where `length` is more than that of `body`."""
    host, port = address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    connection.sendall(f"{head}Content-Length: {length or len(body)}\r\n\r\n{body}".encode())
    return connection


def send_request(address: str, sentences: int, length: int, path: str = "/translate") -> socket.socket:
    """Asks for `sentences` translations of exactly `length` tokens each."""
    values = {"text": ["tea and bread"] * sentences, "alignment": "none"}
    body = json.dumps(values | {"min_decoding_length": length, "max_decoding_length": length})
    return send(address, body, path=path)


def read_all(connection: socket.socket) -> str:
    return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()


def metric(address: str, name: str) -> float:
    text = httpx2.get(f"{address}/metrics").text
    [value] = re.findall(rf"^interlinear_{name}{{.*}} (\S+)$", text, re.MULTILINE)
    return float(value)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def break_bundle(models: Path, directory: Path) -> Path:
    shutil.copytree(models, directory)
    (directory / "tiny" / "encoder.fp32.onnx").write_bytes(b"not a graph")
    return directory


def refused_start(models: Path, *options: str, **environment: str) -> str:
    """The one line that a process says which does not start."""
    done = subprocess.run(
        command(models, *options),
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    return line
