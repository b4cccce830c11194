# The operator.       docker build -t ghcr.io/example/retrain-operator:0.1.0 .
# Without an engine:  make images
#
# BASE_IMAGE is any image with python3.11 and its venv module. Two optional build secrets reach pip where it needs
# settings of its own, and leave nothing behind in a layer:
#   --secret id=pip-config,src=pip.conf   --secret id=pip-ca,src=ca-certificates.crt
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS builder
# pip lives in an environment that stays behind here; the one that is shipped never has it.
RUN python3.11 -m venv /pip && python3.11 -m venv --without-pip /opt/retrain
ENV PIP_CONFIG_FILE=/run/secrets/pip-config \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first: their layer is reused for as long as pyproject.toml stays the same.
COPY pyproject.toml ./
RUN --mount=type=secret,id=pip-config --mount=type=secret,id=pip-ca \
    python3.11 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > /tmp/requirements.txt \
 && /pip/bin/pip --python /opt/retrain/bin/python install --only-binary :all: -r /tmp/requirements.txt
COPY README.md LICENSE ./
COPY operator ./operator
RUN --mount=type=secret,id=pip-config --mount=type=secret,id=pip-ca \
    /pip/bin/pip --python /opt/retrain/bin/python install --no-deps .
# The Kubernetes client's second, asyncio copy of itself: 68 MB that nothing imports.
RUN rm -rf /opt/retrain/lib/python3.11/site-packages/kubernetes/aio

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="retrain-operator" \
      org.opencontainers.image.description="Kubernetes operator for scheduled and drift-driven model retraining" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The base's own pip goes too: /usr/local is where the official Python image keeps it, the others are Debian's.
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/wheel /usr/local/lib/python3.11/ensurepip \
      /usr/local/lib/python3.11/site-packages/* /usr/lib/python3.11/ensurepip /usr/share/python-wheels \
 && echo 'retrain:x:65532:65532:retrain:/tmp:/sbin/nologin' >> /etc/passwd \
 && echo 'retrain:x:65532:' >> /etc/group
COPY --from=builder /opt/retrain /opt/retrain
# Bytecode was compiled with the environment; at run time there is nowhere to write it.
ENV PATH=/opt/retrain/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can be checked without reading /etc/passwd.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["retrain"]
CMD ["operator"]
