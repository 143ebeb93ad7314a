from simple_page import simple_page

from demijohn import Flask

app = Flask(__name__)
app.register_blueprint(simple_page)
