# Two images, as two virtual environments without Docker: ours, and Label Studio's, which never share one.

FROM python:3.11.13-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# The folders exist and belong to the user before a volume is laid over them: an empty volume takes both over.
RUN useradd --uid 1000 --create-home burnish \
    && mkdir -p /state/data/views /label-studio \
    && chown -R burnish:burnish /state /label-studio

FROM base AS label-studio
COPY requirements-label-studio.txt /tmp/
# psycopg brings its own libpq, OpenCV does not bring its GL.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* && pip install --requirement /tmp/requirements-label-studio.txt
COPY platform/config/label_studio_bootstrap.py /opt/bootstrap.py
COPY platform/config/inside_label_studio /opt/burnish
ENV PYTHONPATH=/opt/burnish:/usr/local/lib/python3.11/site-packages/label_studio \
    DJANGO_SETTINGS_MODULE=burnish_settings \
    LABEL_STUDIO_BASE_DATA_DIR=/label-studio
USER burnish
WORKDIR /label-studio
EXPOSE 8081
CMD ["sh", "-c", "python -P /opt/bootstrap.py && exec gunicorn core.wsgi:application --chdir /usr/local/lib/python3.11/site-packages/label_studio --bind 0.0.0.0:8081 --workers 1 --threads 8 --timeout 300 --graceful-timeout 2"]

FROM base AS burnish
COPY requirements.txt /tmp/
RUN pip install --requirement /tmp/requirements.txt
COPY manage.py pyproject.toml /app/
COPY platform /app/platform
COPY ml /app/ml
COPY annotation /app/annotation
ENV PYTHONPATH=/app:/app/platform BURNISH_STATE=/state
USER burnish
WORKDIR /app
EXPOSE 8000
CMD ["python", "-m", "granian", "--interface", "wsgi", "config.wsgi:application", "--host", "0.0.0.0", "--port", "8000", "--workers", "1", "--blocking-threads", "8", "--workers-kill-timeout", "5", "--respawn-failed-workers"]
