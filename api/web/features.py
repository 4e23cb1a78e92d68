"""/features: the data dictionary, everything that may be measured and what never is."""

from itertools import groupby

from litestar import Response, get

from api.access import AnyRequest, public
from api.web import page
from compliance.vocabulary import Category
from scoring import feature_dictionary
from scoring.measures import forbidden, meaning
from scoring.store import retention


@get("/features", opt=public(), include_in_schema=False)
async def feature_list(request: AnyRequest) -> Response[str]:
    """The whole catalogue by category; it says nothing about anybody."""
    language = page.language(request)
    listed = feature_dictionary.entries(request.app.state.settings.offered)
    return page.show(
        request,
        "features.html",
        groups=[
            (category, [(entry, entry.told(language)) for entry in group])
            for category, group in groupby(listed, key=lambda entry: entry.of.category)
        ],
        outside=[
            (
                meaning.meaning(each.expression, Category.DEVICE_USAGE, language),
                meaning.unit(each.unit, language),
                each,
            )
            for each in feature_dictionary.patterns()
        ],
        bans=forbidden.bans(),
        language=language,
        kept=retention.PERIODS,
    )


routes = [feature_list]
