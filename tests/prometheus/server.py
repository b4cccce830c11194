"""A real Prometheus with TLS that scrapes one target, for as long as a test needs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.certificates import Authority
from tests.ports import free_port

READY = "Server is ready to receive web requests."
READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """host: "127.0.0.1:port". ca: the authority's certificate in PEM."""

    host: str
    ca: str

    @property
    def url(self) -> str:
        return f"https://{self.host}"


@contextlib.asynccontextmanager
async def prometheus_server(binary: Path, target: str, folder: Path) -> AsyncIterator[Server]:
    """Scrapes `target` ("host:port") every second. Raises AssertionError with its log when it does not become ready."""
    authority = Authority(folder)
    pair = authority.issue("prometheus", "prometheus", hosts=["127.0.0.1"])
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "model", "static_configs": [{"targets": [target]}]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "web.yml").write_text(yaml.safe_dump({"tls_server_config": {"cert_file": str(pair.certificate), "key_file": str(pair.key)}}))
    host = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--web.config.file={folder / 'web.yml'}",
        f"--web.listen-address={host}",
        f"--storage.tsdb.path={folder / 'data'}",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    log: list[str] = []
    drain: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while not log or READY not in log[-1]:
                line = await process.stderr.readline()
                assert line, "".join(log)
                log.append(line.decode(errors="replace"))
        drain = asyncio.create_task(process.stderr.read())  # a full pipe would stop it
        yield Server(host, authority.certificate.read_text())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if drain is not None:
            await drain
