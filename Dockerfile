# One image for the driver and for every node of a Ray cluster: Ray refuses to connect where its own
# version or Python's differs, so both are pinned here and told by labels.
#
#   docker build -t dataprune .
#   docker run --rm --gpus all -v "$PWD:/home/dataprune" dataprune score digits
#
# Without a GPU, gigabytes smaller (2.13.0+cpu sorts above 2.13.0, so pip takes it):
#   docker build -t dataprune:cpu \
#     --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu .
#
# The base is plain Python, not nvidia/cuda or pytorch/pytorch: torch's wheel from PyPI brings CUDA
# 13.0, cuDNN and NCCL as packages of its own, so a CUDA base would hold them twice. Only the driver
# (580 or newer) comes from the host, through NVIDIA's container runtime. And this tag pins Python
# to its patch number, which Ray compares too. Another base with this Python: --build-arg BASE=...
ARG PYTHON_VERSION=3.11.15
ARG BASE=python:${PYTHON_VERSION}-slim-bookworm
FROM ${BASE}

# KubeRay probes a node's health with wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 --user-group dataprune

# From what changes least to what changes most: torch (gigabytes), the other packages, the code.
WORKDIR /opt/dataprune
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt torch

# The package with nothing but its version in it, for the sake of what it depends on.
COPY pyproject.toml README.md LICENSE ./
COPY pipelines/recipes pipelines/recipes
COPY dataprune/_version.py dataprune/
RUN pip install --no-cache-dir --constraint constraints.txt '.[all]'

COPY dataprune dataprune
RUN pip install --no-cache-dir --no-deps --force-reinstall .

# A build whose labels would lie fails.
ARG PYTHON_VERSION
ARG RAY_VERSION=2.60.0
RUN test "$(python -c 'import platform, ray; print(ray.__version__, platform.python_version())')" \
    = "${RAY_VERSION} ${PYTHON_VERSION}"
ARG BASE
LABEL org.opencontainers.image.title="dataprune" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.dataprune.ray="${RAY_VERSION}" \
      org.dataprune.python="${PYTHON_VERSION}"

# No token lies in an image: a cluster that wants one gives RAY_AUTH_MODE and RAY_AUTH_TOKEN to its
# containers, as KubeRay's authOptions do. Which GPUs are seen is the host's to say, too.
ENV RAY_AUTH_MODE=disabled \
    RAY_USAGE_STATS_ENABLED=0 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# By number, so that Kubernetes' runAsNonRoot can tell.
USER 1000
WORKDIR /home/dataprune
ENTRYPOINT ["dataprune"]
CMD ["--help"]
