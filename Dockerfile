# `optical serve` in a container; the run and its documents are mounted, not copied. See docs/serving.md, "In a container".
FROM python:3.12.12-slim-bookworm

# Where pip finds a CPU wheel of torch; without it pip may take a CUDA build, gigabytes.
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY optical optical
RUN pip install -c constraints.txt '.[serve,teacher]' && useradd --create-home --uid 10001 optical

USER 10001
WORKDIR /work
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

ENTRYPOINT ["optical"]
CMD ["serve", "runs/sw", "--host", "0.0.0.0"]
