"""Addresses of the web server."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("", include("labelling.urls")),
    path("", include("console.urls")),
]
