"""Command: ``cleanshards``, the commands of all packages under one name."""

import dedup.against
import dedup.audit
import dedup.query
import dedup.review.__main__
import dedup.run
import facescrape.run
import pipelines.run
import train.evaluate
import train.export
import train.run
import train.sample
from pipelines.cli import new_app, run_app

app = new_app("From raw image sources to clean, de-duplicated training shards, and a DCGAN trained on them.")
app.add_typer(pipelines.run.app)
app.command("faces")(facescrape.run.faces)
app.command("faces-demo")(facescrape.run.demo)
app.command("faces-report")(facescrape.run.report)
app.command("forget")(facescrape.run.forget)
app.command("dedup")(dedup.run.main)
app.command("against")(dedup.against.main)
app.command("query")(dedup.query.main)
app.command("audit")(dedup.audit.main)
app.command("review")(dedup.review.__main__.main)
app.command("train", help=train.run.HELP)(train.run.main)
app.command("sample")(train.sample.main)
app.command("evaluate")(train.evaluate.main)
app.command("export")(train.export.main)


def main() -> None:
    """Run the console script."""
    run_app(app, "cleanshards")
