"""What takes a tool or some seconds to tell about the deployment's files."""

import subprocess
import sys

from devtools.cloudformation import MESSAGING


def test_cfn_lint_has_nothing_to_say() -> None:
    templates = sorted(map(str, MESSAGING.parent.glob("*.yaml")))
    cfn_lint = "from cfnlint.runner import main; raise SystemExit(main())"  # it has no __main__

    ran = subprocess.run(
        [sys.executable, "-c", cfn_lint, "--regions", "us-east-1", "--template", *templates],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert len(templates) == 3
    assert ran.stdout + ran.stderr == ""
    assert ran.returncode == 0
