"""One name for each image, in the workflow that pushes it, the template that makes its repository, and the guide."""

import re
from typing import Any

import pytest
import yaml

from devtools.cloudformation import MESSAGING, SERVICE
from devtools.localstack import CHECKOUT
from tests.support.policies import grants, load_template

IMAGES = load_template(MESSAGING.with_name("images.yaml"))
FIRST = load_template(MESSAGING)
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))
}
IMAGE_JOB: dict[str, Any] = WORKFLOWS["ci.yml"]["jobs"]["image"]
GUIDE = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")

#: The tag of a commit, as the workflow's type=sha,format=long writes it.
COMMITS_TAG = "sha-$(git rev-parse HEAD)"


def step(action: str, number: int = 0) -> dict[str, Any]:
    """The image job's step with this action; the ``number``-th where there are more."""
    found: list[dict[str, Any]] = [one for one in IMAGE_JOB["steps"] if one.get("uses", "").startswith(f"{action}@")]
    return found[number]


def repositories() -> set[str]:
    default = IMAGES["Parameters"]["RepositoryName"]["Default"]
    names = [
        resource["Properties"]["RepositoryName"]
        for resource in IMAGES["Resources"].values()
        if resource["Type"] == "AWS::ECR::Repository"
    ]
    return {name.get("Fn::Sub", "${RepositoryName}").replace("${RepositoryName}", default) for name in names}


# ---- names ----


def test_the_workflow_pushes_to_the_repositories_that_the_template_makes() -> None:
    built = {one["target"]: one["name"] for one in IMAGE_JOB["strategy"]["matrix"]["include"]}

    assert set(built.values()) == repositories()
    assert built == {"worker": "archiver", "flower": "archiver-flower"}
    assert set(re.findall(r"^FROM runtime AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)) == set(built)
    assert IMAGE_JOB["env"]["IMAGE"].endswith("/${{ matrix.name }}")
    assert step("docker/metadata-action")["with"]["images"] == "${{ env.IMAGE }}"


def test_the_tasks_may_pull_from_those_repositories_and_no_others() -> None:
    default = FIRST["Parameters"]["RepositoryName"]["Default"]
    pulled = grants(FIRST, "ExecutionRole")["ecr:BatchGetImage"]

    assert default == IMAGES["Parameters"]["RepositoryName"]["Default"]
    assert {arn.rpartition(":repository/")[2].replace("${RepositoryName}", default) for arn in pulled} == repositories()


def test_the_guide_deploys_what_the_workflow_pushes() -> None:
    assert f"TAG={COMMITS_TAG}" in GUIDE
    named = set(re.findall(r"\$REGISTRY/([a-z-]+):\$TAG", GUIDE))
    assert named == repositories()
    # nothing is named by another tag or in another repository
    assert set(re.findall(r"\b(?:Flower)?Image=([^\\\s`\"]+)", GUIDE)) <= {f"$REGISTRY/{name}:$TAG" for name in named}


def test_the_guide_names_the_variables_that_the_workflow_reads() -> None:
    text = (CHECKOUT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    read = set(re.findall(r"\bvars\.([A-Z_]+)", text))

    assert read == {"IMAGE_REGISTRY", "IMAGE_ROLE_ARN", "AWS_REGION"}
    assert {name for name in read if f"gh variable set {name} " not in GUIDE} == set()
    for output in re.findall(r"The workflow's variable (\w+)\.", str(IMAGES["Outputs"])):
        assert output in read


# ---- tags, the role, the order of things ----


def test_a_commit_has_a_tag_of_its_own_and_ecr_never_gets_latest() -> None:
    given = step("docker/metadata-action")["with"]
    tags = given["tags"].splitlines()

    assert tags[0].startswith("type=sha,format=long,")
    (latest,) = [line for line in tags if "latest" in line]
    assert "!vars.IMAGE_REGISTRY" in latest
    # without this a version's tag would bring it along
    assert given["flavor"] == "latest=false"
    for resource in IMAGES["Resources"].values():
        if resource["Type"] == "AWS::ECR::Repository":
            assert resource["Properties"]["ImageTagMutability"] == "IMMUTABLE"


def test_what_is_pushed_was_scanned_before_and_is_signed_after() -> None:
    names = [one.get("uses", one.get("run", "")).partition("@")[0].split()[0] for one in IMAGE_JOB["steps"]]
    scanned, pushed = names.index("anchore/scan-action"), len(names) - names[::-1].index("docker/build-push-action") - 1
    push = IMAGE_JOB["steps"][pushed]["with"]

    assert scanned < pushed < names.index("cosign")
    assert step("anchore/scan-action")["with"]["fail-build"] is True
    assert step("docker/build-push-action")["with"]["tags"] == step("anchore/scan-action")["with"]["image"]
    assert push["push"] is True
    assert push["platforms"] == "linux/amd64,linux/arm64"


def test_no_key_is_kept_for_the_registry() -> None:
    text = (CHECKOUT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")

    assert "secrets." not in text
    assert IMAGE_JOB["permissions"]["id-token"] == "write"
    assert step("aws-actions/configure-aws-credentials")["with"]["role-to-assume"] == "${{ vars.IMAGE_ROLE_ARN }}"


def test_only_the_branch_and_version_tags_of_one_repository_get_the_role() -> None:
    (statement,) = IMAGES["Resources"]["PushRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    host = "token.actions.githubusercontent.com"

    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {f"{host}:aud": "sts.amazonaws.com"},
        "StringLike": {
            f"{host}:sub": [
                {"Fn::Sub": "repo:${GitHubRepository}:ref:refs/heads/${GitHubBranch}"},
                {"Fn::Sub": "repo:${GitHubRepository}:ref:refs/tags/v*"},
            ]
        },
    }
    assert IMAGES["Resources"]["GitHubProvider"]["Properties"]["Url"] == f"https://{host}"
    named = re.compile(IMAGES["Parameters"]["GitHubRepository"]["AllowedPattern"])
    assert named.fullmatch("acme/archiver")
    assert named.fullmatch("acme@123/archiver@456")
    assert not named.fullmatch("acme/*")
    allowed = grants(IMAGES, "PushRole")
    assert {action for action, resources in allowed.items() if "*" in resources} == {"ecr:GetAuthorizationToken"}
    assert set().union(*allowed.values()) == {"*", "WorkerRepository.Arn", "FlowerRepository.Arn"}


# ---- what is pinned ----


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_a_workflow_has_no_more_rights_than_it_needs_and_runs_pinned_actions(name: str) -> None:
    workflow = WORKFLOWS[name]
    text = (CHECKOUT / ".github" / "workflows" / name).read_text(encoding="utf-8")

    assert workflow["permissions"] == {"contents": "read"}
    raised = {job for job, given in workflow["jobs"].items() if "permissions" in given}
    assert raised <= {"image", "docs"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    # a commit, and which version it is, which is how Dependabot knows what to update
    assert [line for line in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_who_publishes_the_site_can_push_no_image() -> None:
    job = WORKFLOWS["docs.yml"]["jobs"]["docs"]

    assert job["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
    # A token of an environment has the environment in its subject and not the branch, and PushRole trusts the branch's.
    assert job["environment"]["name"] == "github-pages"


def test_one_action_is_one_version_everywhere() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / ".github" / "workflows").glob("*.yml"))
    pins = set(re.findall(r"uses: ([\w-]+/[\w-]+)@(\S+)", text))

    assert len(pins) == len({action for action, _ in pins})


def test_the_base_image_is_a_digest_that_dependabot_can_read() -> None:
    updates = yaml.safe_load((CHECKOUT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]

    assert re.search(r"^FROM python:3\.\d+-slim@sha256:[0-9a-f]{64} AS base$", DOCKERFILE, flags=re.MULTILINE)
    assert "\nARG BASE_IMAGE=base\n" in DOCKERFILE
    assert {(one["package-ecosystem"], one["directory"]) for one in updates} == {
        ("github-actions", "/"),
        ("docker", "/"),
        ("uv", "/requirements"),
    }


def test_known_faults_are_looked_for_each_week_and_with_each_lock() -> None:
    audit = WORKFLOWS["audit.yml"]
    on = audit[True]  # YAML 1.1 reads `on` so

    assert on["schedule"]
    assert on["push"]["paths"] == on["pull_request"]["paths"] == ["requirements/*.txt"]
    locks = audit["jobs"]["audit"]["strategy"]["matrix"]["lock"]
    assert all((CHECKOUT / "requirements" / f"{lock}.txt").exists() for lock in locks)
    assert set(re.findall(r"-r requirements/(\w+)\.txt", DOCKERFILE)) == set(locks)


def test_the_service_takes_any_image() -> None:
    assert {"Image", "FlowerImage"} <= set(load_template(SERVICE)["Parameters"])
