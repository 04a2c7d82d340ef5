"""People in the admin."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from omarino.models import User


@admin.register(User)
class PersonAdmin(UserAdmin[User]):
    list_display = ["username", "tenant_id", "is_staff", "is_superuser", "last_login"]
    list_filter = ["tenant_id", "groups", "is_staff"]
    fieldsets = [*(UserAdmin.fieldsets or []), ("Tenant", {"fields": ["tenant_id", "subject"]})]
