# Images from the archives in dist/, the bytes that were tested: nothing is compiled here. docs/containers.md; tasks/image builds and tries them.
#
#   proxy    HAProxy that traces the configuration that is mounted
#   ingress  the HAProxy ingress controller's image, with a HAProxy that traces
#   agent    haproxy-vitals-agent alone

# Written by tasks/sync-versions.
ARG HAPROXY_VERSION=3.2
ARG KUBERNETES_INGRESS_VERSION=3.2.12

# What is in the archives, for the machine that the image is for. It runs on the machine that builds.
FROM --platform=$BUILDPLATFORM haproxy:${HAPROXY_VERSION} AS unpacked
# hadolint ignore=DL3002
USER 0:0
ARG TARGETARCH
ARG VERSION
COPY dist/ /dist/
COPY package/image/unpack /usr/local/bin/
RUN unpack /dist /unpacked "$TARGETARCH" "$VERSION"

# How the controller's image starts HAProxy: s6 runs this script, whose last line is HAProxy's command line. Ours must be the first of
# the configuration's files, and the controller writes and checks the others: so the line is what changes.
FROM --platform=$BUILDPLATFORM haproxytech/kubernetes-ingress:${KUBERNETES_INGRESS_VERSION} AS ingress-script
# hadolint ignore=DL3002
USER 0:0
RUN set -eu; \
    sed -E 's|^exec (/usr/local/sbin/haproxy[a-z_]*) -W |exec /usr/local/bin/haproxy-with-otel \1 -W |' \
        /etc/s6-overlay/s6-rc.d/haproxy/run >/run-haproxy; \
    grep -q '^exec /usr/local/bin/haproxy-with-otel ' /run-haproxy || { echo "the controller starts HAProxy otherwise than it did" >&2; exit 1; }; \
    chmod 0755 /run-haproxy

FROM scratch AS agent
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="haproxy-vitals-agent" \
    org.opencontainers.image.description="Answers HAProxy's agent-check from gRPC health checks" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=unpacked /unpacked/agent/ /
USER 65534:65534
EXPOSE 5555 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s CMD ["/usr/local/bin/haproxy-vitals-agent", "--probe"]
ENTRYPOINT ["/usr/local/bin/haproxy-vitals-agent"]

FROM haproxytech/kubernetes-ingress:${KUBERNETES_INGRESS_VERSION} AS ingress
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="haproxy-vitals-ingress" \
    org.opencontainers.image.description="The HAProxy Kubernetes Ingress Controller, with OpenTelemetry traces and gRPC health checks" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later"
COPY --from=unpacked /unpacked/musl/ /
COPY package/image/haproxy-with-otel /usr/local/bin/
COPY package/image/container.cfg /usr/local/share/haproxy-vitals/
COPY --from=ingress-script --chown=1000:1000 /run-haproxy /etc/s6-overlay/s6-rc.d/haproxy/run
# The user that the controller's chart and manifests run it as. ENTRYPOINT and STOPSIGNAL are the controller's.
USER 1000:1000
# The controller's own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:1042/healthz"]

FROM haproxy:${HAPROXY_VERSION} AS proxy
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="haproxy-vitals" \
    org.opencontainers.image.description="HAProxy with OpenTelemetry traces and gRPC health checks" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later"
COPY --from=unpacked /unpacked/glibc/ /
COPY package/image/haproxy-with-otel package/image/haproxy-health /usr/local/bin/
COPY package/image/container.cfg /usr/local/share/haproxy-vitals/
COPY package/image/haproxy.cfg /usr/local/etc/haproxy/
# By number, so that Kubernetes sees that it is not root: the base's user haproxy.
USER 99:99
EXPOSE 8080
# The master passes it on: workers finish what they have begun, send their spans, and end. SIGTERM ends them at once.
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["haproxy-health"]
# docker-entrypoint.sh is the base's: it adds -W -db.
ENTRYPOINT ["haproxy-with-otel", "docker-entrypoint.sh"]
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
