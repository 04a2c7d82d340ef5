"""What the web server calls."""

from django.conf import settings

from omarino.wsgi import application as django  # first: it starts Django

from omarino.front import Front  # isort: skip

application = Front(django, threads=settings.WEB_THREADS)
