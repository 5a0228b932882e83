"""Label Studio's addresses and one of ours, for Burnish alone: the proxy does not let it through."""

from burnish_people import Access
from core.urls import *  # noqa: F403  its error pages too
from core.urls import urlpatterns as theirs
from django.urls import path

urlpatterns = [path("api/burnish/people/<int:pk>", Access.as_view()), *theirs]
