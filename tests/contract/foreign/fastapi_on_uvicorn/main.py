"""The application: FastAPI as its tutorial writes it; the model is loaded in the lifespan."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
MODEL: dict[str, float] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    MODEL.update(json.loads((BASE / "model/model.json").read_text())["totals"])
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/ping")
async def ping() -> Response:
    return Response()


@app.post("/invocations")
async def predict(request: Request) -> Response:
    content_type = request.headers.get("content-type", "text/csv").partition(";")[0].strip()
    if content_type.lower() != "text/csv":
        raise HTTPException(415, "only text/csv is supported")
    try:
        lines = (await request.body()).decode().splitlines()
        rows = [[float(cell) for cell in line.split(",")] for line in lines if line.strip()]
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    if not rows:
        raise HTTPException(422, "the body is empty")
    total = sum(MODEL.values())
    return Response("\n".join(f"{sum(row) + total:g}" for row in rows), media_type="text/csv")
