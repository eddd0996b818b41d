# The static binary and nothing else: no shell, no libc, no package manager.
#
#   docker build -t stockflow .
#   docker run --rm stockflow demo --events 1000

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
# The toolchain's own targets and the crates first: they change less often than the sources do.
COPY rust-toolchain.toml ./
RUN rustup target add "$(uname -m)-unknown-linux-musl"
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs && cargo fetch --locked
COPY scripts/build-static scripts/build-static
COPY src src
RUN mkdir -p /image/data \
 && install -m 0755 "$(scripts/build-static)" /image/stockflow

FROM scratch
# Directories that an image lacks, nobody but root can make: files and state go to /data.
COPY --from=build --chown=65532:65532 /image/data /data
COPY --from=build /image/stockflow /stockflow
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/stockflow"]
