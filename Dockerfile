# The image of Rollcall: the manager and the agent, linked statically, and nothing else. `make image` builds the same
# without a daemon and without a registry.
ARG GO_IMAGE=docker.io/library/golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static:nonroot

FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETARCH
RUN make programs ARCH="${TARGETARCH:-$(go env GOARCH)}" OUT=/out

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="rollcall" \
      org.opencontainers.image.description="Mirrors machines registered in a NATS Key-Value bucket into Kubernetes, and pods into the bucket." \
      org.opencontainers.image.source="https://github.com/rollcall-dev/rollcall" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /out/ /
USER 65532:65532
ENTRYPOINT ["/manager"]
