# docker build --tag didi .
# docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" didi didi-protein quickstart
#
# With an NVIDIA GPU (and its container toolkit):
# docker run --rm --gpus all --user "$(id -u):$(id -g)" --volume "$PWD:/work" didi didi-protein info
#
# torch comes with its CUDA libraries, gigabytes of them. For a small image without, or for another CUDA
# version, give the package index that torch's installation page names for it:
# docker build --tag didi-cpu --build-arg PIP_EXTRA_INDEX_URL=INDEX .
FROM python:3.12-slim-bookworm

# Another package index beside pip's own, for other builds of torch.
ARG PIP_EXTRA_INDEX_URL=
ARG EXTRAS=metrics,report,order,text

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/didi
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY didi_core didi_core
COPY didi_protein didi_protein
COPY didi_text didi_text
RUN python -m pip install --constraint constraints.txt ".[$EXTRAS]"

# Any user may be given with --user: caches lie where all may write.
RUN useradd --create-home didi && install --directory --mode 1777 /cache /work
ENV HF_HOME=/cache/huggingface TORCH_HOME=/cache/torch DIDI_CACHE=/cache/didi MPLCONFIGDIR=/cache/matplotlib
USER didi
WORKDIR /work

CMD ["didi-protein", "--help"]
