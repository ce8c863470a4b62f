# The serving image: no TensorFlow, no pip, no compiler; runs as a numeric user, with a read-only root if wanted.
#   docker build --tag interlinear .
#   docker build --tag interlinear:gpu --build-arg RUNTIME=gpu .
ARG BASE_IMAGE=python:3.11-slim-bookworm

# --- what the service runs on; changes with the constraints only ---------------------------------------------------
FROM ${BASE_IMAGE} AS dependencies
# `cpu` or `gpu`: which of deploy/constraints/{serve,gpu}.txt. The files name every package, hence --no-deps.
ARG RUNTIME=cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/constraints /constraints
RUN case "${RUNTIME}" in cpu) requirements=serve ;; gpu) requirements=gpu ;; \
      *) echo "RUNTIME is '${RUNTIME}', not 'cpu' or 'gpu'" >&2; exit 1 ;; esac \
    && python -m venv --without-pip /opt/python \
    && pip --python /opt/python/bin/python install --no-compile --no-deps --requirement "/constraints/${requirements}.txt"
# The packages' own tests, and the parts of onnxruntime that prepare models, are not needed to serve.
RUN cd /opt/python/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && rm -r onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
    && python -m compileall -q .

# --- the service itself, apart, so that a new version does not ship the packages again ----------------------------
FROM dependencies AS application
COPY . /source
RUN pip --python /opt/python/bin/python install --no-deps --target /opt/interlinear /source

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="Interlinear" \
      org.opencontainers.image.description="Attention-based translation with the alignment behind every word" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=dependencies /opt/python /opt/python
COPY --from=application /opt/interlinear /opt/interlinear
ENV PATH=/opt/interlinear/bin:/opt/python/bin:${PATH} \
    PYTHONPATH=/opt/interlinear \
    PYTHONUNBUFFERED=1 \
    INTERLINEAR_HOST=0.0.0.0 \
    INTERLINEAR_PORT=8000
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os; server = http.client.HTTPConnection('127.0.0.1', int(os.environ['INTERLINEAR_PORT']), timeout=2); server.request('GET', '/readyz'); raise SystemExit(server.getresponse().status != 200)"]
ENTRYPOINT ["interlinear"]
CMD ["serve"]
