"""The table of all pages."""

import msgspec

from tasks_server.api.parts import Parts
from tasks_server.api.routes import Route
from tasks_server.web.assets import Assets
from tasks_server.web.bulk_pages import BulkPages
from tasks_server.web.engines_page import EnginesPage
from tasks_server.web.frame import Frame
from tasks_server.web.help_page import help_routes
from tasks_server.web.lane_pages import LanePages
from tasks_server.web.log_page import LogPages
from tasks_server.web.new_page import NewPage
from tasks_server.web.overview_page import OverviewPage
from tasks_server.web.owner_choice import OwnerChoice
from tasks_server.web.schedule_pages import SchedulePages
from tasks_server.web.session import Seal, Sessions
from tasks_server.web.signing_in import SigningIn
from tasks_server.web.task_page import TaskPageView
from tasks_server.web.task_pages import TaskPages


class UiConfig(msgspec.Struct, frozen=True):
    """What the operator chose. `site`: a name that every page shows, to tell servers apart; `read_only`: nothing can be
    changed from the pages.
    """

    site: str = ""
    read_only: bool = False


def ui_routes(parts: Parts, seal: Seal, unseal: Seal, config: UiConfig) -> list[Route]:
    """All pages over these services."""
    sessions, assets = Sessions(seal, unseal, parts.clock), Assets()
    signing = SigningIn(parts.owners, parts.admin_keys, sessions, parts.clock, read_only=config.read_only)
    frame = Frame(signing.viewer, sessions, assets, parts.clock, parts.zone, config.site)
    choice = OwnerChoice(parts.owners)
    return [
        *assets.routes(),
        *signing.table(frame),
        *TaskPages(parts.tasks, parts.monitor, parts.owners).table(frame),
        *TaskPageView(parts.tasks, parts.explain, parts.owners).table(frame),
        *OverviewPage(parts.monitor, parts.journal, parts.clock).table(frame),
        *LanePages(parts.lanes, parts.bulks, choice).table(frame),
        *SchedulePages(parts.schedules, parts.journal, choice).table(frame),
        *BulkPages(parts.bulks, choice).table(frame),
        *LogPages(parts.journal).table(frame),
        *EnginesPage(parts.monitor).table(frame),
        *NewPage(parts.tasks, parts.schedules, choice).table(frame),
        *help_routes(frame),
    ]
