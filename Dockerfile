# The worker:           docker build -t archiver:local .
# Flower beside it:     docker build -t archiver-flower:local --target flower .
# Without a registry:   --build-arg BASE_IMAGE=<a local image with Python 3.11 or later>
# Packages by a mirror: --secret id=pip,src=<a pip.conf>; deploy/container/build does it all, with podman as well
#
# checkov:skip=CKV_DOCKER_7: BASE_IMAGE is by default the stage below, whose image has its tag and its digest
ARG BASE_IMAGE=base

# By its digest, of the index for all architectures, and not by an ARG: in this form Dependabot keeps it up to date.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base

# --- built here, copied from here: neither pip's cache nor a build tool reaches the images below -------------------
FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/worker.txt requirements/flower.txt requirements/
# Wheels only: a requirement that wanted a compiler would fail the build instead of bringing one.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/build.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python -m venv --without-pip /opt/archiver \
 && /build/bin/pip --python /opt/archiver/bin/python install \
        --no-cache-dir --require-hashes --only-binary :all: -r requirements/worker.txt
# The SDK describes 400 services, a quarter of all bytes: these are called, the last four by the credential chain.
RUN find /opt/archiver/lib/python*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sqs ! -name sns ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY archiver archiver
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /build/bin/pip --python /opt/archiver/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl
# What the package does not bring: the app's configuration and its tasks. Celery finds them in its working directory.
COPY celeryconfig.py /opt/archiver/service/
COPY tasks /opt/archiver/service/tasks
RUN chmod -R go=rX /opt/archiver/service

FROM build AS build-flower
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    /build/bin/pip --python /opt/archiver/bin/python install \
        --no-cache-dir --require-hashes --only-binary :all: -r requirements/flower.txt
# The columns and the rest of Flower's options, which it reads in its working directory as well.
COPY flowerconfig.py /opt/archiver/service/
RUN chmod go=rX /opt/archiver/service/flowerconfig.py

# --- what both images share -------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS runtime
ARG VERSION=local
ARG REVISION=unknown
LABEL org.opencontainers.image.title="archiver" \
      org.opencontainers.image.description="Builds ZIP archives of S3 objects from SQS messages" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# All that is written goes below /tmp: the root filesystem may be read-only.
ENV PATH=/opt/archiver/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Fargate has no tmpfs. It mounts a task's volume for root alone unless the image declares the folder: then with the
# folder's own mode, so that the user below may write.
VOLUME ["/tmp"]
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
# Here are celeryconfig and tasks: Celery puts its working directory on the import path, and nobody can write to it.
WORKDIR /opt/archiver/service
STOPSIGNAL SIGTERM

FROM runtime AS flower
COPY --from=build-flower /opt/archiver /opt/archiver
EXPOSE 5555
CMD ["celery", "-A", "archiver", "flower", "--port=5555"]

# --- the last stage is the default one ---------------------------------------------------------------------------------
FROM runtime AS worker
COPY --from=build /opt/archiver /opt/archiver
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["archiver", "health"]
CMD ["celery", "-A", "archiver", "worker"]
