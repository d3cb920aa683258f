# CPU:  docker build -t ssvd-asr .
#       docker run -v ssvd:/data ssvd-asr ssvd keys add NAME      # prints a key; without one it does not start
#       docker run -p 8000:8000 -v ssvd:/data ssvd-asr
#       docker run -p 127.0.0.1:8000:8000 -e SSVD_AUTH=off -v ssvd:/data ssvd-asr      # this machine only, no keys
# GPU:  docker build -t ssvd-asr:gpu --build-arg TORCH_BACKEND=cu130 .
#       docker run --gpus all -p 8000:8000 -v ssvd:/data ssvd-asr:gpu
FROM python:3.12-slim

# What uv calls a build of torch; the CUDA libraries come with it, so the base image is the same.
ARG TORCH_BACKEND=cpu
ENV PYTHONUNBUFFERED=1 \
    SSVD_HOST=0.0.0.0 \
    SSVD_STORE=/data/store \
    SSVD_KEYS=/data/keys.json \
    SSVD_AUDIT_LOG=/data/audit.jsonl \
    SSVD_CACHE_DIR=/data/cache \
    HF_HOME=/data/hub
WORKDIR /opt/ssvd-asr

# Dependencies before the source: this layer is built again only when one of the two files changes.
COPY pyproject.toml constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt uv \
    && uv pip install --system --no-cache --torch-backend=${TORCH_BACKEND} \
        --constraints constraints.txt --requirements pyproject.toml --extra serve --extra ui

COPY LICENSE README.md ./
COPY ssvd_asr ssvd_asr
COPY adapters_store adapters_store
COPY training training
COPY server server
COPY ui ui
RUN uv pip install --system --no-cache --no-deps . \
    && useradd --create-home --uid 10001 ssvd \
    && install --directory --owner ssvd /data

USER ssvd
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=300s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["ssvd", "serve"]
