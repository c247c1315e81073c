# docker build --tag didi .
# docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" didi didi-protein quickstart
#
# With an NVIDIA GPU (and its container toolkit):
# docker build --tag didi-cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
# docker run --rm --gpus all --user "$(id -u):$(id -g)" --volume "$PWD:/work" didi-cuda didi-protein info
FROM python:3.12-slim-bookworm

# Wheels of torch: of the CPU, or of a CUDA version.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH_VERSION=2.13.0
ARG EXTRAS=metrics,report,text

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/didi
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY didi_core didi_core
COPY didi_protein didi_protein
COPY didi_text didi_text
# First torch alone, from its own index, which has the builds; what it needs comes with the rest.
RUN python -m pip install --no-deps --index-url "$TORCH_INDEX" "torch==$TORCH_VERSION" \
    && python -m pip install --constraint constraints.txt ".[$EXTRAS]"

# Any user may be given with --user: caches lie where all may write.
RUN useradd --create-home didi && install --directory --mode 1777 /cache /work
ENV HF_HOME=/cache/huggingface TORCH_HOME=/cache/torch DIDI_CACHE=/cache/didi MPLCONFIGDIR=/cache/matplotlib
USER didi
WORKDIR /work

CMD ["didi-protein", "--help"]
