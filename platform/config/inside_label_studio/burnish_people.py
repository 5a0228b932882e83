"""Who may log in. Label Studio can delete a person, with the name on their answers, but not shut them out."""

from typing import Any

from django.shortcuts import get_object_or_404
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from users.models import User


class Access(APIView):  # type: ignore[misc]  # untyped
    permission_classes = (IsAdminUser,)

    def put(self, request: Request, pk: int) -> Response:
        """Let a person in, or shut them out: their sessions end with the next request, and their tasks are free."""
        user: Any = get_object_or_404(User, pk=pk)
        user.is_active = request.data["active"] is True
        user.save(update_fields=["is_active"])
        if not user.is_active:
            user.task_locks.all().delete()
        return Response({"active": user.is_active})
