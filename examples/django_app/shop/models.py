"""What is sold."""

from django.db import models


class Order(models.Model):
    """An order, and whether its customer was told."""

    customer = models.CharField(max_length=100)
    confirmed = models.BooleanField(default=False)
