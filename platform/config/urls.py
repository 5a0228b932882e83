"""Addresses of the web server."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from config.views import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("health/", health, name="health"),
    path("admin/", admin.site.urls),
    path("", include("labelling.urls")),
    path("", include("console.urls")),
]
