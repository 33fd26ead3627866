"""Run ``bgworker run --app web:bg`` and ``flask --app web run``; ask for /words?text=a+rose."""

import os

from flask import Flask, current_app, jsonify, request

from bgworker.contrib.flask import FlaskBgWorker

app = Flask(__name__)
app.config["BGWORKER_URL"] = os.environ.get("BGWORKER_URL", "sqlite:///jobs.db")
app.config["GREETING"] = "counted by Flask"
bg = FlaskBgWorker(app)


@bg.task(name="count_words")
def count_words(text: str) -> str:
    """Count, with the application's context."""
    return f"{len(text.split())} {current_app.config['GREETING']}"


@app.get("/words")
def words():
    """Store a job."""
    return jsonify(job=count_words.delay(request.args["text"]).id)


@app.get("/job/<job_id>")
def job(job_id: str):
    """Wait for its result."""
    return jsonify(result=bg.job(job_id).result(timeout=20))
