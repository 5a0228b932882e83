"""Addresses of the pages. All need a login: `LoginRequiredMiddleware` sees to it."""

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, path

from console import actions, data_pages, pages, pictures

urlpatterns: list[URLPattern] = [
    path("", pages.home, name="home"),
    path("login/", pages.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("campaigns/<int:pk>/", pages.campaign, name="campaign"),
    path("campaigns/<int:pk>/start/", actions.start, name="start-round"),
    path("rounds/<int:pk>/", pages.round_, name="round"),
    path("rounds/<int:pk>/cancel/", actions.cancel, name="cancel-round"),
    path("rounds/<int:pk>/retry/", actions.retry, name="retry-round"),
    path("models/<int:pk>/", pages.model, name="model"),
    path("models/<int:pk>/promote/", actions.promote_model, name="promote-model"),
    path("models/<int:pk>/roll-back/", actions.roll_back_model, name="roll-back-model"),
    path("imports/<int:pk>/", pages.import_, name="import"),
    path("imports/<int:pk>/cancel/", actions.cancel_import, name="cancel-import"),
    path("projects/<int:pk>/images/", data_pages.images, name="images"),
    path("projects/<int:pk>/statistics/", data_pages.statistics, name="statistics"),
    path("images/<int:pk>/", data_pages.image, name="image"),
    path("images/<int:pk>/thumbnail/", pictures.image_thumbnail, name="image-thumbnail"),
    path("images/<int:pk>/overlay/", pictures.image_overlay, name="image-overlay"),
    path("images/<int:pk>/overlay/prediction/<int:prediction>/", pictures.image_overlay, name="image-overlay"),
    path("images/<int:pk>/overlay/label/<int:label>/", pictures.image_overlay, name="image-overlay"),
    path("images/<int:pk>/overlay/truth/", pictures.truth_overlay, name="truth-overlay"),
    path("images/<int:pk>/view/", pictures.image_view, name="image-view"),
    path("images/<int:pk>/mask/prediction/<int:prediction>/", pictures.image_mask, name="image-mask"),
    path("images/<int:pk>/mask/label/<int:label>/", pictures.image_mask, name="image-mask"),
    path("images/<int:pk>/mask/truth/", pictures.truth_mask, name="truth-mask"),
]
