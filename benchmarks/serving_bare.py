"""The bare peer of `serving.py`: one FastAPI route around one LightGBM booster, and nothing else.

    .venv-bench/bin/python benchmarks/serving_bare.py MODEL PORT WORKERS [nodelay]

No token, no tenant, no registry, no metrics, no check of what is sent but pydantic's. The route is `async`, which saves
the step through a pool of threads and gave the bare app more requests. With several workers uvicorn binds the socket
itself, in a way that keeps asyncio from setting TCP_NODELAY: headers and body go out apart and the second waits for the
client's delayed acknowledgement (Kludex/uvicorn#3149). `nodelay` sets it on the listening socket, which connections inherit.
"""

from __future__ import annotations

import os
import socket
import sys

import lightgbm
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from uvicorn.supervisors import Multiprocess

app = FastAPI()
booster = lightgbm.Booster(model_file=os.environ["BARE_MODEL"]) if "BARE_MODEL" in os.environ else None


class Rows(BaseModel):
    rows: list[list[float]]


@app.post("/predict")
async def predict(asked: Rows) -> dict[str, list[float]]:
    return {"predictions": booster.predict(np.array(asked.rows), num_threads=1).tolist()}


def main(model: str, port: str, workers: str, *rest: str) -> None:
    os.environ["BARE_MODEL"] = model
    config = uvicorn.Config(
        "serving_bare:app",
        port=int(port),
        workers=int(workers),
        log_level="warning",
        access_log=False,
        timeout_worker_healthcheck=60,
    )
    listening = config.bind_socket()
    if "nodelay" in rest:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    Multiprocess(config, sockets=[listening]).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
