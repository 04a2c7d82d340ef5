"""Every setting, read once. The rest of the code says `settings.X`; docs/configuration.md is made from here.

First what an operator may change, in the order of that page; then what Django and its companions are told.
"""
# ruff: noqa: F403, I001  # the groups of the page stand in the order in which they are read here

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from omarino.settings.service import *
from omarino.settings.servers import *
from omarino.settings.files import *
from omarino.settings.identity import *
from omarino.settings.limits import *
from omarino.settings.operation import *
from omarino.settings.retention import *

from omarino.settings.web import *
from omarino.settings.queue import *
from omarino.settings.lines import *

from omarino.settings.service import env

if env.problems:
    raise ImproperlyConfigured("\n".join(env.problems))
VARIABLES = tuple(env.variables)  # what `manage.py describe_settings` prints
