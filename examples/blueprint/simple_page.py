from demijohn import Blueprint, abort

simple_page = Blueprint("simple_page", __name__, url_prefix="/pages")

PAGES = {"about": "We make bottles.", "contact": "Write a letter."}


@simple_page.route("/")
def index():
    return {"pages": list(PAGES)}


@simple_page.route("/<name>")
def show(name):
    if name not in PAGES:
        abort(404)
    return PAGES[name]
