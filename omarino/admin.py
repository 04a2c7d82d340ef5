"""The pages' name, people, and the base of every page over rows of a tenant."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import capfirst

from omarino import audit, people
from omarino.audit_models import AuditRecord
from omarino.authentication import TENANT_ID
from omarino.models import User
from omarino.permissions import MayRead, MayReadAudit
from omarino.tenancy import TenantOwned

ModelT = TypeVar("ModelT", bound=Model)
RowT = TypeVar("RowT", bound=TenantOwned)
NOBODY: frozenset[str] = frozenset()

admin.site.site_title = admin.site.site_header = "OMARINO AI Hub"
admin.site.index_title = "Overview"
admin.site.site_url = None  # there is no other site to view
admin.site.enable_nav_sidebar = False  # a line of links in the header does, and fits a phone
admin.site.empty_value_display = "–"


def person(request: HttpRequest) -> User:
    """Who is signed in; only for pages, which let nobody else in."""
    return cast(User, request.user)


class TenantForm(forms.ModelForm[RowT]):
    """A form of a tenant's row. A new row gets its tenant before it is checked, since what must be
    unique is unique within a tenant."""

    tenant_of_new_rows: ClassVar[str] = ""

    def clean(self) -> dict[str, Any] | None:
        if self.instance._state.adding:
            self.instance.tenant_id = self.cleaned_data.get("tenant_id") or self.tenant_of_new_rows
        return super().clean()

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"tenant_id"}


class KeptInAudit(admin.ModelAdmin[ModelT]):
    """What is done on these pages is a record of the audit. Django's own log of it is not written: it keeps the name of
    what was changed, also of what was deleted, for whoever changed it, and no erasure of a tenant would find that."""

    def audited_as(self, row: ModelT) -> Any:
        """The id of a row in the audit."""
        return row.pk

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        asked = urlencode({"object_id": self.audited_as(row)})
        return HttpResponseRedirect(f"{reverse('admin:omarino_auditrecord_changelist')}?{asked}")

    def log_addition(self, request: HttpRequest, obj: ModelT, message: Any) -> Any:
        return None

    def log_change(self, request: HttpRequest, obj: ModelT, message: Any) -> Any:
        return None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return None


class TenantAdmin(KeptInAudit[RowT]):
    """Pages over the rows of one's own tenant; a superuser sees all. Roles decide, as they do in the API."""

    view_roles: ClassVar[frozenset[str]] = MayRead.roles
    add_roles: ClassVar[frozenset[str]] = NOBODY
    change_roles: ClassVar[frozenset[str]] = NOBODY
    actions = None  # nothing is done to many rows at a click

    def get_queryset(self, request: HttpRequest) -> QuerySet[RowT]:
        rows = super().get_queryset(request)
        return rows if person(request).is_superuser else rows.filter(tenant_id=person(request).tenant_id)

    def get_ordering(self, request: HttpRequest) -> Any:
        """Said to each query, since one that counts what belongs to a row forgets the order of its model."""
        return super().get_ordering(request) or self.opts.ordering

    def get_form(
        self, request: HttpRequest, obj: RowT | None = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[RowT]]:
        if (
            "fields" in kwargs and kwargs["fields"] is None
        ):  # `get_fieldsets` itself wants to know all there are
            return super().get_form(request, obj, change, **kwargs)
        named = kwargs.get("fields") or flatten_fieldsets(self.get_fieldsets(request, obj))
        kwargs["fields"] = [name for name in named if name != "tenant_id"]  # it is added below
        form = super().get_form(request, obj, change, **kwargs)
        extras: dict[str, Any] = {"tenant_of_new_rows": person(request).tenant_id}
        if not change and person(request).is_superuser:
            extras["tenant_id"] = forms.CharField(
                max_length=64,
                initial=person(request).tenant_id,
                label="Tenant",
                validators=[RegexValidator(rf"\A{TENANT_ID.pattern}\Z", "Letters, digits or . _ -")],
            )
        return cast("type[forms.ModelForm[RowT]]", type(form.__name__, (form,), extras))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return [*shown[:1], "tenant_id", *shown[1:]] if person(request).is_superuser else shown

    def get_list_filter(self, request: HttpRequest) -> Any:
        filters = super().get_list_filter(request)
        return [*filters, "tenant_id"] if person(request).is_superuser else filters

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._has_one_of(request, self.view_roles)

    def has_view_permission(self, request: HttpRequest, obj: RowT | None = None) -> bool:
        return self._has_one_of(request, self.view_roles)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._has_one_of(request, self.add_roles)

    def has_change_permission(self, request: HttpRequest, obj: RowT | None = None) -> bool:
        return self._has_one_of(request, self.change_roles)

    def has_delete_permission(self, request: HttpRequest, obj: RowT | None = None) -> bool:
        return False

    def audited_as(self, row: RowT) -> Any:
        return getattr(row, "asset_id", row.pk)

    def save_model(self, request: HttpRequest, obj: RowT, form: Any, change: bool) -> None:
        """Within the page's transaction."""
        was = audit.digest(self.model._default_manager.get(pk=obj.pk)) if change else ""
        super().save_model(request, obj, form, change)
        told = (obj.tenant_id, "changed" if change else "created", str(self.opts.verbose_name))
        audit.record(*told, self.audited_as(obj), before=was, after=obj, pk=str(obj.pk))

    def _has_one_of(self, request: HttpRequest, roles: frozenset[str]) -> bool:
        who = request.user
        if not isinstance(who, User):
            return False  # the sign-in page asks as well
        return bool(who.roles & roles and (who.tenant_id or who.is_superuser))


class PageAdmin(TenantAdmin[RowT]):
    """Rows with a page of their own: a form for every column would let people write what only verbs may."""

    page: ClassVar[str] = ""  # its template
    act_roles: ClassVar[frozenset[str]] = NOBODY  # who may press its buttons

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if request.method == "POST":
            if not self.may_act(request):
                raise PermissionDenied
            return self.act(request, row)
        context = {
            "original": row,
            "may_act": self.may_act(request),
            **self.context_of(request, row),
            **(extra_context or {}),
        }
        return self.page_of(request, self.page, context)

    def page_of(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        request.current_app = self.admin_site.name
        told = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, template, told)

    def may_act(self, request: HttpRequest) -> bool:
        return self._has_one_of(request, self.act_roles)

    def context_of(self, request: HttpRequest, row: RowT) -> dict[str, Any]:
        raise NotImplementedError

    def act(self, request: HttpRequest, row: RowT) -> HttpResponse:
        raise PermissionDenied


admin.site.unregister(Group)  # groups are our roles: none is made, renamed or removed here


@admin.register(User)
class PersonAdmin(KeptInAudit[User], UserAdmin[User]):
    """People of all tenants, hence for superusers alone, whatever permissions somebody was given."""

    actions = None
    list_display = ["username", "tenant_id", "is_staff", "is_superuser", "last_login"]
    list_filter = ["tenant_id", "groups", "is_staff"]
    fieldsets = [*(UserAdmin.fieldsets or []), ("Tenant", {"fields": ["tenant_id", "subject"]})]
    add_fieldsets = [*(UserAdmin.add_fieldsets or []), ("Tenant", {"fields": ["tenant_id"]})]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return person(request).is_superuser

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return person(request).is_superuser

    def has_add_permission(self, request: HttpRequest) -> bool:
        return person(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return person(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return person(request).is_superuser

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> User | None:
        """The form and that for a new password both begin here: what was, before either puts anything on it."""
        found = super().get_object(request, object_id, from_field)
        if found is not None and request.method == "POST":
            request.was = people.Standing.of(found.pk)  # type: ignore[attr-defined]
        return found

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():  # with its record, or not at all
            return super().user_change_password(request, id, form_url)

    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> Any:
        people.created(obj)

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        """After the groups; a new password comes here as well, and not to `save_model`."""
        people.changed(obj, request.was)  # type: ignore[attr-defined]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for user in queryset:
            people.deleted(user)


@admin.register(AuditRecord)
class AuditRecordAdmin(TenantAdmin[AuditRecord]):
    """Read, and nothing else: the database would refuse it."""

    view_roles = MayReadAudit.roles
    list_display = ["at", "username", "outcome", "verb", "kind", "object_id"]
    list_filter = ["outcome", "kind", "verb"]
    search_fields = ["username", "subject", "object_id", "request_id"]
    date_hierarchy = "at"
    list_per_page = 100
    fieldsets = [
        (
            None,
            {"fields": ["at", "username", "subject", "outcome", "verb", "kind", "object_id", "request_id"]},
        ),
        ("Digests and facts", {"fields": ["before", "after", "facts"]}),
    ]
