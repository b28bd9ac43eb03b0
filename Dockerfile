# The relay, as it is locked. Settings and directory come from outside, at /etc/relay; see docker-compose.yml.
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /opt/relay
RUN python -m venv .venv
COPY requirements.lock ./
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY relay relay
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .
RUN mkdir state

FROM python:3.13.9-slim-bookworm
COPY --from=build /opt/relay/.venv /opt/relay/.venv
# A volume begins as a copy of this folder, with its owner.
COPY --from=build --chown=10001:10001 /opt/relay/state /var/lib/relay
ENV PATH=/opt/relay/.venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/relay
USER 10001:10001
VOLUME ["/var/lib/relay"]
EXPOSE 2525 8025
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8025/readyz', timeout=4)"]
ENTRYPOINT ["relay"]
CMD ["run"]
