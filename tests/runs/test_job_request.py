"""What is submitted: the same thing has one id, nothing secret goes along, and when to start."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.errors import BusyError, DatapruneError, RecipeError, UsageError
from dataprune.runs.job_command import check_no_credentials, is_secret_name
from dataprune.runs.job_request import JobRecord, Request, choose, request_for

RECIPE = "name: mine\nsource: {uri: digits}\nseeds: 2\n"


def request(tmp_path: Path, recipe: str = "digits", **changes: Any) -> Request:
    folder = tmp_path / f"staged-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    return request_for(recipe, folder=folder, **{"work": "/shared/run", **changes})


def recipe_of(folder: Path, more: str) -> str:
    path = folder / "other.yaml"
    path.write_text(f"{RECIPE}{more}\n")
    return str(path)


def attempt(
    number: int, status: str, *, occasion: str | None = None, code: Any = None
) -> JobRecord:
    return JobRecord(
        f"dataprune-x-a{number}", number, status, code, "", "dataprune", occasion, None, None
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mine.yaml").write_text(RECIPE)
    (folder / "nets.py").write_text("x = 1\n")
    return folder


def test_a_job_scores_the_recipe_on_its_own_cluster(tmp_path: Path) -> None:
    made = request(tmp_path, more=["--seeds", "3"])
    assert made.entrypoint == (
        "dataprune score digits --runner ray --address auto --work /shared/run --seeds 3"
    )
    assert made.working_dir is None


def test_the_id_is_that_of_recipe_arguments_files_and_environment(
    tmp_path: Path, project: Path
) -> None:
    file = str(project / "mine.yaml")
    first = request(tmp_path, file, working_dir=project).base_id
    assert first.startswith("dataprune-mine-")
    assert len(first.removeprefix("dataprune-mine-")) == 12
    (project / "mine.yaml").write_text("# said otherwise\n" + RECIPE)
    assert request(tmp_path, file, working_dir=project).base_id == first
    others = {
        request(tmp_path, file, working_dir=project, work="/other").base_id,
        request(tmp_path, file, working_dir=project, more=["--seeds", "3"]).base_id,
        request(tmp_path, file, working_dir=project, env={"A": "1"}).base_id,
        request(tmp_path, file).base_id,
    }
    (project / "nets.py").write_text("x = 2\n")
    others.add(request(tmp_path, file, working_dir=project).base_id)
    (project / "mine.yaml").write_text(RECIPE.replace("seeds: 2", "seeds: 3"))
    others.add(request(tmp_path, file, working_dir=project).base_id)
    assert len(others) == 6
    assert first not in others


def test_what_a_run_writes_below_the_folder_that_is_sent_changes_nothing(
    tmp_path: Path, project: Path
) -> None:
    file, work = str(project / "mine.yaml"), project / "run"
    before = request(tmp_path, file, working_dir=project, work=str(work)).base_id
    work.mkdir()
    (work / "unit.json").write_text("{}")
    assert request(tmp_path, file, working_dir=project, work=str(work)).base_id == before


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "openai_apikey", "DB_PASSWORD"]
)
def test_a_secret_is_refused_by_its_name_and_its_value_not_repeated(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        request(tmp_path, env={name: "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "Kubernetes Secret" in str(caught.value)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "DATAPRUNE_DATA", "KEYBOARD"])
def test_a_plain_variable_is_no_secret(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"work": "s3://id:hunter2@bucket/run"},
        {"more": ["--source", "https://hunter2@host/data.csv"]},
        {"env": {"PLACE": "s3://id:hunter2@bucket"}},
    ],
)
def test_credentials_in_a_url_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="credentials") as caught:
        request(tmp_path, **changes)
    assert "hunter2" not in str(caught.value)


def test_a_container_of_azure_is_no_credential() -> None:
    check_no_credentials(["abfs://box@me.dfs.core.windows.net/w"], where="--work")
    for url in ("abfs://me:pw@there/w", "abfss://a:b@c/d --x"):
        with pytest.raises(UsageError, match="credentials"):
            check_no_credentials([url], where="--work")


def test_credentials_in_the_recipe_are_refused(tmp_path: Path, project: Path) -> None:
    text = RECIPE.replace("uri: digits", "uri: 'https://me:hunter2@host/x.parquet'")
    (project / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match="recipe mine holds credentials"):
        request(tmp_path, str(project / "mine.yaml"))


def test_a_revision_in_a_hub_address_is_no_credential(tmp_path: Path) -> None:
    more = ["--source", "hf://datasets/org/name@main/config"]
    assert request(tmp_path, more=more).arguments[-1] == more[-1]


def test_a_relative_run_folder_and_a_mistyped_recipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="read on the cluster"):
        request(tmp_path, work="runs/mine")
    with pytest.raises(UsageError, match="read on the cluster"):
        request(tmp_path, recipe_of(tmp_path, "run: {work: runs/mine}"), work=None)
    with pytest.raises(RecipeError, match="did you mean digits"):
        request(tmp_path, "digist")


def test_a_run_folder_of_the_recipe_is_one(tmp_path: Path) -> None:
    assert not request(tmp_path, work=None).keeps
    made = request(tmp_path, recipe_of(tmp_path, "run: {work: s3://bucket/run}"), work=None)
    assert made.keeps
    assert "--work" not in made.arguments


def test_a_release_runs_with_a_store_that_the_next_run_finds(tmp_path: Path) -> None:
    releasing = recipe_of(tmp_path, "release: {}")
    made = request(tmp_path, releasing, store="/shared/store")
    assert made.entrypoint == (
        "dataprune run other.yaml --runner ray --address auto --work /shared/run "
        "--store /shared/store"
    )
    for store in (None, ".dataprune/store", "s3://bucket/store"):
        with pytest.raises(UsageError, match="which the next run must find again"):
            request(tmp_path, releasing, store=store)
    with pytest.raises(UsageError, match="--store has no effect"):
        request(tmp_path, store="/shared/store")


def test_the_ray_line_is_one_shell_command(tmp_path: Path) -> None:
    made = request(tmp_path, env={"A": "x y"}, more=["--out", "/a b"], occasion="it's monday")
    words = shlex.split(made.ray_command("http://h:8265", 2, Path("/my dir")))
    assert words[:3] == ["ray", "job", "submit"]
    assert words[words.index("--submission-id") + 1] == made.submission_id(2)
    assert words[words.index("--working-dir") + 1] == "/my dir"
    assert words[words.index("--") + 1 :] == ["dataprune", *made.arguments]


@pytest.mark.parametrize(
    ("attempts", "mode", "occasion", "wanted"),
    [
        ([], "default", None, 1),
        ([], "again", None, 1),
        ([attempt(1, "RUNNING")], "default", None, "a1"),
        ([attempt(1, "SUCCEEDED")], "default", None, "a1"),
        ([attempt(1, "SUCCEEDED")], "again", None, 2),
        ([attempt(1, "FAILED")], "default", None, 2),
        ([attempt(1, "FAILED"), attempt(2, "STOPPED")], "default", None, 3),
        ([attempt(1, "FAILED")], "attach", None, "a1"),
        # A retry for the same scheduled time attaches, also to what has succeeded.
        ([attempt(1, "PENDING", occasion="mon")], "default", "mon", "a1"),
        ([attempt(1, "SUCCEEDED", occasion="mon")], "default", "mon", "a1"),
        ([attempt(1, "FAILED", occasion="mon")], "default", "mon", 2),
        ([attempt(1, "SUCCEEDED", occasion="mon")], "default", "tue", 2),
        ([attempt(1, "SUCCEEDED")], "default", "tue", 2),
    ],
)
def test_which_attempt_is_meant(
    tmp_path: Path, attempts: list[JobRecord], mode: Any, occasion: str | None, wanted: int | str
) -> None:
    found = choose(attempts, request(tmp_path, occasion=occasion), mode)
    assert (found if isinstance(found, int) else f"a{found.attempt}") == wanted


@pytest.mark.parametrize(("mode", "occasion"), [("again", None), ("default", "tue")])
def test_a_second_run_is_not_started_beside_the_first(
    tmp_path: Path, mode: Any, occasion: str | None
) -> None:
    running = [attempt(1, "SUCCEEDED"), attempt(2, "RUNNING", occasion="mon")]
    with pytest.raises(BusyError, match="a2 is still running"):
        choose(running, request(tmp_path, occasion=occasion), mode)


def test_there_is_nothing_to_attach_to_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(DatapruneError, match="knows no job"):
        choose([], request(tmp_path), "attach")


@pytest.mark.parametrize(
    ("status", "driver_code", "code"),
    [
        ("RUNNING", None, None), ("SUCCEEDED", 0, 0), ("FAILED", 1, 1), ("FAILED", 2, 2),
        ("FAILED", 3, 3), ("FAILED", 4, 4), ("FAILED", 137, 1), ("FAILED", None, 1),
        ("FAILED", 0, 1), ("STOPPED", None, 130),
    ],
)  # fmt: skip
def test_the_exit_code_is_the_jobs_where_it_is_one_of_ours(
    status: str, driver_code: int | None, code: int | None
) -> None:
    assert attempt(1, status, code=driver_code).exit_code == code


def test_a_job_that_says_nothing_of_ours_comes_with_a_hint() -> None:
    assert "no dataprune" in (attempt(1, "FAILED", code=127).hint or "")
    assert "another attempt" in (attempt(1, "FAILED", code=137).hint or "")
    assert attempt(1, "FAILED", code=3).hint is None
