# Streamlane in a container; docs/docker.md says how to build and run it. Two images:
#   docker build -t streamlane .                  with llama.cpp inside the process
#   docker build -t streamlane --target slim .    for models that other servers hold
# Nothing here knows the machine it is built for: every dependency has wheels for amd64 and arm64.
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
WORKDIR /src
COPY . .
# An environment of its own: it is copied whole, and what built it stays behind.
RUN python -m venv /opt/streamlane \
 && /opt/streamlane/bin/pip install --no-cache-dir .

FROM build AS build-full
RUN /opt/streamlane/bin/pip install --no-cache-dir '.[llama-batched,hf]'

FROM python:${PYTHON} AS base
# The address inside the container is not its own loopback, so keys are asked for: set STREAMLANE_SERVER_API_KEYS.
ENV PATH=/opt/streamlane/bin:$PATH \
    HOME=/data \
    STREAMLANE_DATA_DIR=/data \
    STREAMLANE_SERVER_HOST=0.0.0.0
# Models and databases, and the socket of an engine. Everything else may be read-only.
RUN install --directory --owner=10001 --group=10001 --mode=700 /data
VOLUME ["/data", "/tmp"]
# Where streamlane.toml is looked for.
WORKDIR /etc/streamlane
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('STREAMLANE_SERVER_PORT', '8765') + '/health/live', timeout=4)"]
ENTRYPOINT ["streamlane"]
CMD ["serve"]

FROM base AS slim
COPY --from=build /opt/streamlane /opt/streamlane
# A number, so that a cluster can see that it is not root.
USER 10001:10001

FROM base AS full
# llama.cpp computes on several cores by OpenMP. Debian keeps one version of it: a pin would break the build some day.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build-full /opt/streamlane /opt/streamlane
USER 10001:10001
