from demijohn import Flask, flash, redirect, render_template, request, url_for

app = Flask(__name__)
# Signs the cookie that carries the message from one request to the next. Keep a real one out of the code.
app.secret_key = "only for this example"

NOTES = ["Buy <b>corks</b>", "Rinse the demijohn"]


@app.template_filter("shout")
def shout(text):
    return text.upper() + "!"


@app.get("/")
def index():
    return render_template("index.html", notes=NOTES)


@app.post("/notes")
def add_note():
    note = request.form["note"].strip()
    if note:
        NOTES.append(note)
        flash(f"Noted: {note}")
    else:
        flash("An empty note is no note.")
    return redirect(url_for("index"))
