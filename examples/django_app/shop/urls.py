"""One page: order something, and ask what became of it."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.tasks import default_task_backend
from django.urls import path

from shop.models import Order
from shop.tasks import confirm


def order(_: HttpRequest, customer: str) -> JsonResponse:
    """The row and the job are stored in one transaction: both, or neither."""
    with transaction.atomic():
        row = Order.objects.create(customer=customer)
        job = confirm.enqueue(row.id)
    return JsonResponse({"order": row.id, "job": job.id})


def job(_: HttpRequest, id_: str) -> JsonResponse:
    """Where the job is now."""
    result = default_task_backend.get_result(id_)
    value = result.return_value if result.status == "SUCCESSFUL" else None
    return JsonResponse({"status": result.status, "value": value})


urlpatterns = [path("order/<str:customer>", order), path("job/<str:id_>", job)]
