# The sandbox (the default), and the example shop: see "Containers" in docs/sandbox.md.

FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 aurpay && install --directory --owner=aurpay /data
WORKDIR /data
COPY pyproject.toml README.md LICENSE /src/
COPY aurpay_async /src/aurpay_async

FROM base AS shop
RUN pip install --no-cache-dir "/src[fastapi,postgresql,sandbox]" "jinja2>=3.1" "uvicorn>=0.32"
COPY examples/__init__.py /src/examples/
COPY examples/shop /src/examples/shop
ENV PYTHONPATH=/src
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/')"]
CMD ["python", "-m", "examples.shop"]

FROM base AS sandbox
RUN pip install --no-cache-dir "/src[cli,fast]"
USER 10001
EXPOSE 8765
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8765/')"]
ENTRYPOINT ["aurpay", "sandbox", "--host", "0.0.0.0", "--allow-remote", "--port", "8765"]
