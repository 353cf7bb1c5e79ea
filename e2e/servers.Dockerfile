# The gRPC servers of compose.yaml, on the libraries of two authors: the programs that the tests speak to.
# The context is tests/servers.
ARG PYTHON_IMAGE_VERSION=3.13
ARG NODE_IMAGE_VERSION=22

FROM python:${PYTHON_IMAGE_VERSION}-slim AS python
ARG GRPC_PYTHON_VERSION=1.85.1
RUN pip install --no-cache-dir --only-binary :all: \
        "grpcio==${GRPC_PYTHON_VERSION}" "grpcio-health-checking==${GRPC_PYTHON_VERSION}"
COPY python/health.py /srv/
USER 65534:65534
ENTRYPOINT ["python3", "/srv/health.py", "--host", "0.0.0.0", "--port", "50051"]

FROM node:${NODE_IMAGE_VERSION}-slim AS node
ARG GRPC_NODE_VERSION=1.14.7
ARG GRPC_NODE_HEALTH_VERSION=2.1.0
WORKDIR /srv
RUN npm install --no-audit --no-fund --ignore-scripts --loglevel error \
        "@grpc/grpc-js@${GRPC_NODE_VERSION}" "grpc-health-check@${GRPC_NODE_HEALTH_VERSION}"
COPY node/health.js /srv/
USER 65534:65534
ENTRYPOINT ["node", "/srv/health.js", "--host", "0.0.0.0", "--port", "50051"]
