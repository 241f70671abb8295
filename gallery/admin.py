"""The history of jobs, and the galleries, to read: everything that changes them is done on the console's own pages."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gallery.models import Gallery, Job, JobEvent, JobFile
from localai_admin.lib.net import shown
from localai_admin.lib.units import bytes_text, duration_text
from team.readonly import ReadOnly


class EventInline(ReadOnly, admin.TabularInline):
    model = JobEvent
    fields = ("at", "by", "from_state", "to_state", "why")
    extra = 0


class FileInline(ReadOnly, admin.TabularInline):
    model = JobFile
    fields = ("filename", "uri", "sha256", "size", "done", "status")
    extra = 0


@admin.register(Job)
class JobAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("created_at", "kind", "subject", "state", "by", "size", "took", "error")
    list_display_links = ("created_at", "subject")
    list_filter = ("state", "kind", "by", "created_at")
    search_fields = ("subject", "by", "error")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    list_per_page = 50
    show_full_result_count = False
    inlines = (FileInline, EventInline)
    # Its own page shows it without what may be secret in it.
    exclude = ("request",)

    @admin.display(description="bytes", ordering="bytes_done")
    def size(self, job: Job) -> str:
        return bytes_text(job.bytes_done or None)

    @admin.display(description="took")
    def took(self, job: Job) -> str:
        if not (job.started_at and job.finished_at):
            return duration_text(None)
        return duration_text((job.finished_at - job.started_at).total_seconds())


@admin.register(Gallery)
class GalleryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "address", "source", "enabled", "entry_count", "checked_at", "refreshed_at", "error")
    list_filter = ("enabled", "named", "source")
    search_fields = ("name", "url")
    # Addresses without their queries, and no header: both may hold what is secret.
    exclude = ("url", "mirrors", "headers")
    readonly_fields = ("address",)

    @admin.display(description="address", ordering="url")
    def address(self, gallery: Gallery) -> SafeString:
        return format_html("<code>{}</code>", shown(gallery.url))
