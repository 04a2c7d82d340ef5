"""For servers that speak ASGI. The views are synchronous; `manage.py up` serves `omarino.rsgi`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omarino.settings")
application = get_asgi_application()
