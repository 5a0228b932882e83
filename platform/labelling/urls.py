from django.urls import path

from labelling import views

urlpatterns = [path("hooks/label-studio/", views.label_studio, name="label-studio-hook")]
