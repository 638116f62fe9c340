"""Page: a template and its values in, one HTML page that needs nothing beside itself out.

Every report extends ``page.html.jinja``: the same type and colours, light and dark. Its Content-Security-Policy forbids
scripts and every request, so that a page shows no more than what stands in it, whatever its texts come from.
"""

import base64
from functools import cache
from importlib.resources import files

import jinja2

BASE = "page.html.jinja"


def render_page(package: str, template: str, **values: object) -> str:
    """Render a template that lies in ``package``, with those it includes, and extends ``page.html.jinja``.

    Values are escaped. Beside them a template has the filter ``thousands`` (1234 → 1,234) and the functions ``share``
    (part, whole → 12.3%) and ``percent`` (0.0123 → 1.23%).
    """
    return _template(package, template).render(values)


def data_uri(picture: bytes, kind: str = "jpeg") -> str:
    """An encoded picture as a URI that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


@cache
def _template(package: str, template: str) -> jinja2.Template:
    def read(name: str) -> str:
        return files("pipelines" if name == BASE else package).joinpath(name).read_text("utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    environment.globals["share"] = _share
    environment.globals["percent"] = _percent
    return environment.get_template(template)


def _share(part: float, whole: float) -> str:
    return f"{part / whole if whole else 0:.1%}"


def _percent(share: float) -> str:
    """A share as a percentage, with as many digits as tell something of a small one."""
    return f"{share:.{1 if not share or share >= 0.09995 else 2 if share >= 0.00095 else 3}%}"
