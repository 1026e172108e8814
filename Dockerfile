# The laboratory's server: docker build -t cytowell . && docker run -p 127.0.0.1:7860:7860 -v cytowell:/data cytowell
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 lab && mkdir /data && chown lab /data
COPY --chown=lab pyproject.toml README.md LICENSE NOTICE /src/
COPY --chown=lab src /src/src
RUN pip install --no-cache-dir "/src[serve,postgres]"

USER lab
ENV CYTOWELL_CACHE=/data/cache
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["cytowell", "serve", "--host", "0.0.0.0", "--data", "/data"]
