# A stand-in for LocalStack's image, from LocalStack's package: what docker-compose.yml relies on and no more. For
# where no registry can be reached: `deploy/container/build localstack`.
#
# checkov:skip=CKV_DOCKER_3: the real image runs as root, too
# checkov:skip=CKV_DOCKER_7: the tag is the ARG's
ARG BASE_IMAGE=python:3.13-slim
FROM ${BASE_IMAGE}
WORKDIR /src
COPY devtools/__init__.py devtools/install.py devtools/
COPY requirements/uv.txt requirements/localstack.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates \
    python -m devtools.install /opt/localstack requirements/localstack.txt
# The real image has these two names as well: awslocal is the AWS CLI with LocalStack's address.
RUN printf '#!/bin/sh\nexec env AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 \\\n    /opt/localstack/bin/python /opt/localstack/bin/aws --endpoint-url http://localhost:4566 "$@"\n' \
        >/usr/local/bin/awslocal \
 && chmod 755 /usr/local/bin/awslocal \
 && mkdir -p /etc/localstack/init/ready.d /var/lib/localstack
LABEL archiver.stand-in="localstack"
# In a container it listens on every address and runs the scripts below /etc/localstack/init. No network is there to
# fetch a certificate from, to report to, or to resolve names by.
ENV OVERRIDE_IN_DOCKER=1 \
    GATEWAY_SERVER=hypercorn \
    SKIP_SSL_CERT_DOWNLOAD=1 \
    DISABLE_EVENTS=1 \
    DNS_ADDRESS=0
EXPOSE 4566
HEALTHCHECK --interval=10s --start-period=15s \
    CMD ["curl", "-fsS", "http://localhost:4566/_localstack/health"]
# It has nothing to save, and takes its time over SIGTERM.
STOPSIGNAL SIGKILL
CMD ["/opt/localstack/bin/python", "-m", "localstack.runtime.main"]
