# The command ftonnx in an image, which has the same versions on every machine that runs it.
#
#     docker build -t ftonnx .
#     docker run --rm --user "$(id -u)" -v "$PWD:/work" ftonnx inject model.onnx --data npz:test.npz --results results
#
# EXTRAS are those of pyproject.toml, separated by commas; PYTHON is 3.11 or newer.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG EXTRAS=dask
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/ftonnx-*.whl)${EXTRAS:+[$EXTRAS]}"
RUN useradd --uid 1000 --create-home ftonnx
USER 1000
WORKDIR /work
ENTRYPOINT ["ftonnx"]
