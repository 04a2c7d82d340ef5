"""Addresses of forecasts, under /ai/."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
